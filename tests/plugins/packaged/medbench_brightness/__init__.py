"""A plugin for MedBench as a package."""

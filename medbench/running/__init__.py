"""A run, from what a person asks for to what he holds in his hand.

The command line and Python come in by one door: ``run`` and ``audit`` take what they are told, have
it done while a person watches, and ``load_run`` reads what is left. What a verb does with a run is
a file of its name here, and a method of ``Run``.
"""

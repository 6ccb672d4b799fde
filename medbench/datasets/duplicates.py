"""Images that are the same or nearly so, found by their content and kept in one group."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from medbench.datasets.progress_callback import ProgressCallback, no_progress, with_progress
from medbench.datasets.stored_images import StoredImages

Indices = NDArray[np.int64]
Images = NDArray[np.uint8] | StoredImages
HASH_SIDE = 16
"""Bits a side of a perceptual hash; 256 in all. With 64 bits all chest films look alike."""
MOST_BITS = 20
"""Largest distance of near-identical images, in bits."""
LEAST_CORRELATION = 0.9
"""Smallest correlation of their pixels. Of 253 brain slices and 868 chest films
every pair within the distance is above .96; pairs of almost empty images are not."""
LARGEST_SHARE = 0.01
"""A component of near-identical images does not grow beyond this share of the set ..."""
LARGEST_SMALL = 10
"""... or this many images in a small set: one brain slice has five copies among 253."""
_COMPARISONS = 20_000_000
"""Hashes compared at a time: should all be within the distance, these answers fit in memory."""
_QUERIES = 1_000
"""Hashes looked up at a time, at most."""
_DISTANCES = np.int16(MOST_BITS + 1)
"""How many distances there are; with ``_QUERIES`` their product fits in 16 bits."""
_NEIGHBOURS = 50
"""Nearest hashes kept of each: where all images look alike, all pairs would not fit in memory."""
_SIDE = 64
"""Pixels a side at which pairs are compared, at most."""
_BLOCK_BYTES = 8 << 20
"""Prepared pixels read at a time to compare pairs."""


def perceptual_hash(image: Image.Image) -> NDArray[np.uint8]:
    """256 bits that hardly change when an image is compressed, scaled or brightened.

    Returns:
        uint8, shape (32,).

    Source: the DCT hash of the library ImageHash, after Zauner (2010), "Implementation and
    benchmarking of perceptual image hash functions".
    """
    import imagehash

    return np.packbits(imagehash.phash(image, hash_size=HASH_SIDE).hash.ravel())


def near_pairs(
    hashes: NDArray[np.uint8],
    pixel_hashes: Sequence[str],
    images: Images,
    threads: int,
    say: ProgressCallback = no_progress,
) -> pd.DataFrame:
    """Pairs of near-identical images: hashes at most 20 bits apart, and pixels that correlate.

    Of images with identical pixels only the first takes part; of images with one perceptual hash
    each is compared with the first.

    Args:
        hashes: Perceptual hashes, uint8, shape (n_images, 32).
        pixel_hashes: Hash of each image's pixels at full size.
        images: Prepared pixels, uint8, shape (n_images, height, width, channels).
        threads: Number of threads to search with.
        say: Shows how far a long search is.

    Returns:
        One row a pair: ``first`` < ``second`` (row numbers), ``distance`` (bits),
        ``correlation``, and ``joined``: False where the component that the pair would have made
        is above the largest that is joined, which closer pairs may have reached.

    Every hash is compared with every other: up to a million that is faster than tables of their
    parts, and takes as long where all images look alike.

    Source: Douze et al. (2024), "The Faiss library", arXiv:2401.08281.
    """
    distinct = np.flatnonzero(~pd.Series(pixel_hashes).duplicated())
    _, first_with, of_hash = np.unique(
        hashes[distinct], axis=0, return_index=True, return_inverse=True
    )
    leader = first_with[of_hash.ravel()]
    same = np.flatnonzero(leader != np.arange(len(distinct)))
    near = _within(hashes[distinct[first_with]], threads, say)
    ones = np.concatenate([leader[same], first_with[near["one"]]])
    others = np.concatenate([same, first_with[near["other"]]])
    ordered = np.sort(distinct[np.column_stack([ones, others])], axis=1)
    distances = np.append(np.zeros(len(same), np.int64), near["distance"])
    pairs = pd.DataFrame({"first": ordered[:, 0], "second": ordered[:, 1], "distance": distances})
    pairs["correlation"] = _correlations(images, ordered)
    pairs = pairs[pairs["correlation"] >= LEAST_CORRELATION]
    pairs = pairs.sort_values(["distance", "first", "second"], ignore_index=True)
    return pairs.assign(joined=_joined(pairs, len(distinct)))


def joined_groups(
    names: Sequence[str],
    pixel_hashes: Sequence[str],
    pairs: pd.DataFrame,
    *,
    files: Sequence[str],
) -> Indices:
    """Opaque group numbers: images of one patient or file, or (near-)identical ones share one.

    Args:
        names: Patient, lesion or scan of each image; "" where unknown.
        pixel_hashes: Hash of each image's decoded pixels.
        pairs: What ``near_pairs`` returned; those that are ``joined`` count.
        files: Name of each image's file, of which it may be one of several slices.

    Returns:
        Connected components, int64, shape (n_images,), numbered in order of appearance.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(names)
    by_name = patient_numbers(names)
    unnamed = by_name < 0
    by_name[unnamed] = by_name.max(initial=-1) + 1 + np.arange(unnamed.sum())
    near = pairs[pairs["joined"]]
    ends, others, nodes = [near["first"].to_numpy()], [near["second"].to_numpy()], n
    for shared in (by_name, *(_numbered(values) for values in (pixel_hashes, files))):
        ends.append(np.arange(n))
        others.append(nodes + shared)  # a node for each value, joined to the images that have it
        nodes += shared.max(initial=-1) + 1
    edges = (np.concatenate(ends), np.concatenate(others))
    ones = np.ones(len(edges[0]), dtype=np.int8)
    graph = coo_array((ones, edges), shape=(nodes, nodes))
    component = connected_components(graph, directed=False)[1][:n]
    return np.asarray(pd.factorize(component)[0], dtype=np.int64)


def patient_numbers(names: Sequence[str]) -> Indices:
    """Opaque numbers of the groups that a data set names, int64; -1 where it names none."""
    # Prefixed, and not by NUL: pandas 2 reads a string only up to there.
    named = np.array([f"={name}" if name else None for name in names], dtype=object)
    return np.asarray(pd.factorize(named)[0], dtype=np.int64)


def _numbered(values: Sequence[str]) -> Indices:
    """One number for each distinct text, in order of appearance."""
    return patient_numbers([f"={value}" for value in values])


def _within(hashes: NDArray[np.uint8], threads: int, say: ProgressCallback) -> pd.DataFrame:
    """Pairs of distinct hashes within ``MOST_BITS``: ``one`` < ``other``, ``distance``."""
    import faiss

    faiss.omp_set_num_threads(threads)
    n = len(hashes)
    found = [pd.DataFrame({"one": [], "other": [], "distance": []}, dtype="int64")]
    step = min(_QUERIES, max(1, _COMPARISONS // max(1, n)))
    begins = range(0, n, step)
    for begin in with_progress(begins, len(begins), "looking for near-identical images", say):
        index = faiss.IndexBinaryFlat(HASH_SIDE**2)
        index.add(hashes[begin:])  # those before were compared with all
        chunk = hashes[begin : begin + step]
        limits, distances, others = index.range_search(chunk, MOST_BITS + 1)  # strictly below
        ones = np.repeat(np.arange(len(chunk), dtype=np.int16), np.diff(limits.astype(np.int64)))
        later = others > ones
        ones, others, distances = ones[later], others[later], distances[later]
        # Numbers of 16 bits are sorted by radix, in linear time: all may be within the distance.
        order = np.argsort(ones * _DISTANCES + distances.astype(np.int16), kind="stable")
        starts = np.searchsorted(ones, np.arange(len(chunk), dtype=np.int16))
        nearest = order[np.arange(len(ones)) - starts[ones] < _NEIGHBOURS]
        pairs = {"one": ones, "other": others, "distance": distances}
        frame = pd.DataFrame({name: values[nearest] for name, values in pairs.items()})
        found.append(frame.astype("int64") + {"one": begin, "other": begin, "distance": 0})
    return pd.concat(found, ignore_index=True)


def _correlations(images: Images, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pearson's correlation of the grey pixels of each pair; 0 where an image is constant."""
    values = np.empty(len(pairs))
    step = max(1, images.shape[1] // _SIDE)
    at_a_time = max(1, _BLOCK_BYTES // max(1, math.prod(images.shape[1:])))
    for begin in range(0, len(pairs), at_a_time):
        some = pairs[begin : begin + at_a_time]
        one, other = (_standardised(images[side], step) for side in some.T)
        values[begin : begin + at_a_time] = np.einsum("ij,ij->i", one, other)
    return values


def _standardised(images: NDArray[np.uint8], step: int) -> NDArray[np.float32]:
    """Grey pixels of every ``step``-th row and column, centred and of length one."""
    flat = images[:, ::step, ::step].mean(axis=3, dtype=np.float32).reshape(len(images), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    standardised: NDArray[np.float32] = np.divide(
        flat, length, out=np.zeros_like(flat), where=length > 0
    )
    return standardised


def _joined(pairs: pd.DataFrame, n_distinct: int) -> NDArray[np.bool_]:
    """Which pairs are joined, the closest first, so that no component becomes too large."""
    from scipy.cluster.hierarchy import DisjointSet

    largest = max(int(LARGEST_SHARE * n_distinct), LARGEST_SMALL)
    components = DisjointSet(np.unique(pairs[["first", "second"]].to_numpy()).tolist())
    joined = np.zeros(len(pairs), dtype=bool)
    for row, (one, other) in enumerate(zip(pairs["first"], pairs["second"], strict=True)):
        joined[row] = components.connected(one, other) or (
            components.subset_size(one) + components.subset_size(other) <= largest
        )
        if joined[row]:
            components.merge(one, other)
    return joined

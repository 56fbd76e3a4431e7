"""Networks that more than one room needs: small, written plainly, their normaliser by factory."""

from normkit.models.basic_resnet import BasicBlock, BasicResNet, resnet
from normkit.models.cifar_resnet import CIFARBlock, CIFARResNet, cifar_resnet
from normkit.models.mlp import MLP
from normkit.models.plain_conv_net import PlainConvNet
from normkit.models.preactivation_resnet import PreActivationBlock, ResNet
from normkit.models.transformer import Transformer, TransformerEncoderLayer

__all__ = [
    "MLP",
    "BasicBlock",
    "BasicResNet",
    "CIFARBlock",
    "CIFARResNet",
    "PlainConvNet",
    "PreActivationBlock",
    "ResNet",
    "Transformer",
    "TransformerEncoderLayer",
    "cifar_resnet",
    "resnet",
]

"""Networks that more than one room needs: small, written plainly, their normaliser by factory."""

from normkit.models.basic_resnet import BasicBlock, BasicResNet, resnet
from normkit.models.character_model import character_model
from normkit.models.cifar_resnet import CIFARBlock, CIFARResNet, cifar_resnet
from normkit.models.describe_norms import BlockNorms, NormDescription, describe_norms
from normkit.models.mlp import MLP
from normkit.models.mobilenet_v2 import InvertedResidual, MobileNetV2, mobilenet_v2
from normkit.models.plain_conv_net import PlainConvNet
from normkit.models.preactivation_resnet import PreActivationBlock, ResNet
from normkit.models.qk_norm_attention import QKNormAttention
from normkit.models.recurrent_classifier import RecurrentClassifier
from normkit.models.sequence_batch_norm import SequenceBatchNorm
from normkit.models.transformer import Transformer
from normkit.models.transformer_decoder_layer import TransformerDecoderLayer
from normkit.models.transformer_encoder_layer import TransformerEncoderLayer
from normkit.models.vision_transformer import VisionTransformer

__all__ = [
    "MLP",
    "BasicBlock",
    "BasicResNet",
    "BlockNorms",
    "CIFARBlock",
    "CIFARResNet",
    "InvertedResidual",
    "MobileNetV2",
    "NormDescription",
    "PlainConvNet",
    "PreActivationBlock",
    "QKNormAttention",
    "RecurrentClassifier",
    "ResNet",
    "SequenceBatchNorm",
    "Transformer",
    "TransformerDecoderLayer",
    "TransformerEncoderLayer",
    "VisionTransformer",
    "character_model",
    "cifar_resnet",
    "describe_norms",
    "mobilenet_v2",
    "resnet",
]

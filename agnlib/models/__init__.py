"""The networks: generator, discriminator, style extractor, and the frozen encoders of the perceptual losses."""

from agnlib.models.article import (
    ArticleDiscriminator,
    ArticleDiscriminatorConfig,
    ArticleGenerator,
    ArticleGeneratorConfig,
)
from agnlib.models.discriminator import Discriminator, DiscriminatorConfig
from agnlib.models.encoders import EfficientNetLiteFeatures, PerceptualEncoder, VGG16Features
from agnlib.models.generator import Generator, GeneratorConfig
from agnlib.models.style_extractor import StyleExtractor, StyleExtractorConfig

__all__ = [
    "ArticleDiscriminator",
    "ArticleDiscriminatorConfig",
    "ArticleGenerator",
    "ArticleGeneratorConfig",
    "Discriminator",
    "DiscriminatorConfig",
    "EfficientNetLiteFeatures",
    "Generator",
    "GeneratorConfig",
    "PerceptualEncoder",
    "StyleExtractor",
    "StyleExtractorConfig",
    "VGG16Features",
]

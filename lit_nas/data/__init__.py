"""Data modules for images, split into parts by role, and for text; loaders that resume exactly; augmentation."""

from lit_nas.data.augment import Augmentation
from lit_nas.data.dataset_loader import DatasetLoader
from lit_nas.data.digits import DigitsDataModule
from lit_nas.data.file_loader import FileLoader
from lit_nas.data.image_data_module import ImageDataModule
from lit_nas.data.image_folder import ImageFolderDataModule
from lit_nas.data.order import Order
from lit_nas.data.role_loader import RoleLoader
from lit_nas.data.split import Split
from lit_nas.data.synthetic import SyntheticDataModule
from lit_nas.data.tensor_loader import RawBatch, TensorLoader
from lit_nas.data.text_folder import TextFolderDataModule
from lit_nas.data.vision import CIFAR10DataModule, CIFAR100DataModule, FashionMNISTDataModule, SVHNDataModule

__all__ = (
    "Augmentation",
    "CIFAR10DataModule",
    "CIFAR100DataModule",
    "DatasetLoader",
    "DigitsDataModule",
    "FashionMNISTDataModule",
    "FileLoader",
    "ImageDataModule",
    "ImageFolderDataModule",
    "Order",
    "RawBatch",
    "RoleLoader",
    "SVHNDataModule",
    "Split",
    "SyntheticDataModule",
    "TensorLoader",
    "TextFolderDataModule",
)

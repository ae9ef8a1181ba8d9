"""`Stylizer`: a picture and a style in, the repainted picture out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import Unpack

from agnlib._shared.progress import Listener, check_progress, telling
from agnlib.engines._device import resolve_device
from agnlib.image import DEFAULT_LIMITS, Limits, Picture, PictureFile, PictureLike
from agnlib.image._resizing import checked_size
from agnlib.image._targets import BinaryWriter, free_target
from agnlib.image._writing import check_quality
from agnlib.neighbors import Progress
from agnlib.painting._effect import Effect
from agnlib.painting._frames import FramePainter, Steadying
from agnlib.painting._masks import paired, styles_of
from agnlib.painting._neighbor_painter import NeighborPainter
from agnlib.painting._options import BY_NETWORK, CallOptions, PaintingOptions, refuse_neighbors
from agnlib.painting._painted_windows import Painting
from agnlib.painting._photo import Photo, write_rows
from agnlib.painting._recipe import recipe_of
from agnlib.painting._rendering import rows, whole
from agnlib.painting._temporal_smoothing import Smoothing
from agnlib.styles._encoder import StyleEncoder
from agnlib.styles._reader import MixedStyle, OneStyle, pictured

__all__ = ["Listener", "MixedStyle", "OneStyle", "PaintingOptions", "Style", "Stylizer", "resolve_device"]

Style: TypeAlias = "OneStyle | Sequence[OneStyle | tuple[OneStyle, float] | MixedStyle]"
Pixels = TypeVar("Pixels", bound=np.generic)
Pictures = TypeVar("Pictures", bound=torch.Tensor)


class Stylizer(StyleEncoder):
    """Repaints pictures in the style of reference pictures.

    Holds no state that a call changes: it may be shared by threads, and it can be pickled.

    Args:
        generator: paints; moved to the device, in float32 whatever its precision is, and set to evaluation. Of one that
            `torch.compile` wrapped, the network inside is taken.
        extractor: reads styles; likewise. Its `style_dim` is the generator's.
        device: "auto" (CUDA where there is one, else the CPU), "cpu", "cuda", "cuda:N" or "mps".
        engine: what paints: "torch"; "openvino" (extra `openvino`) or "onnx", onnxruntime (extra `onnx`), both on the
            CPU, with as many threads as torch has; "auto" for the one that was measured to be the fastest here; or one
            that `agnlib.engines.register` was given. Other engines than torch take seconds more for the first picture
            of new weights, for an export that is kept in `AGNLIB_CACHE`, else `~/.cache/agnlib`.
        precision: what the engine computes in: "float32" or "bfloat16", which moves values by 1 or 2 of 255 levels on
            average; "auto" is bfloat16 with "openvino" where the processor multiplies it, else float32.

    Attributes:
        generator: the network that paints.
        extractor: the network that reads styles.
        device: a `torch.device`, where both are.
        engine: as it was given.
        precision: as it was given.
        name: of the weights; None where the networks were given.
        version: of the weights, "" for unknown.
        license: of the weights, "unknown" where they do not say.
        class_names: the styles that the weights know by name.

    Raises:
        InputError: a device that is unknown or not there, models that are wrapped or of different `style_dim`, or an
            unknown engine or precision, or an engine that does not run on the device or in the precision.
        MissingDependencyError: the engine is not installed.

    Example:
        >>> from agnlib.models import Generator, StyleExtractor
        >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
        >>> import numpy as np
        >>> photo, painting = np.zeros((30, 40, 3), dtype=np.uint8), np.ones((20, 20, 3))
        >>> stylizer(photo, painting).shape
        (30, 40, 3)
    """

    @overload
    def __call__(
        self, content: PictureFile | Image.Image, style: Style, **options: Unpack[CallOptions]
    ) -> Image.Image: ...
    @overload
    def __call__(self, content: NDArray[Pixels], style: Style, **options: Unpack[CallOptions]) -> NDArray[Pixels]: ...
    @overload
    def __call__(self, content: Pictures, style: Style, **options: Unpack[CallOptions]) -> Pictures: ...
    def __call__(
        self,
        content: PictureLike,
        style: Style,
        *,
        method: Literal["network", "neighbors"] = "network",
        drawing: float | None = None,
        on_step: Callable[[Progress], None] | None = None,
        strength: float = 1.0,
        texture: float = 1.0,
        color: float = 1.0,
        preserve_color: bool = False,
        color_only: bool = False,
        scale: float | Literal["auto"] = "auto",
        mask: PictureLike | Sequence[PictureLike] | None = None,
        seed: int | None = None,
        size: int | None = None,
        tile: int | Literal["auto"] | None = "auto",
        progress: bool | Listener = False,
    ) -> Any:
        """Repaint `content` in `style`.

        At strength 1 the result is the generator's. Below it, the style code moves from the photo's own code towards
        the style's, so brushwork and palette fade together without double contours; below 0.25 the photo itself is
        blended in as well, so that the result goes to the photo exactly as strength goes to 0.

        A picture too large to be painted at once is painted in tiles. A tile sees as much around it as the network's
        receptive field, and all are normalized by the same statistics, which a picture of more than 2**20 pixels takes
        from itself reduced to so many, tiled or not: the result is the same, without seams.

        Args:
            content: a path, the bytes of a picture file or a binary file object, PIL image, array `(H, W)` or
                `(H, W, C)`, or tensor `(C, H, W)` or `(B, C, H, W)`; floats in [0, 1]. See `agnlib.image.Picture`.
            style: one picture, a list of (picture, weight), a `StyleCode` or `PictureStyle`, the path (.safetensors)
                or bytes of a file that their `save` wrote, or a style by name: one of `class_names`, "random", or a
                work of art that comes with agnlib (`agnlib.styles.works.available()`). With `mask`, see there.
            method: "network" paints in one pass, in a fraction of a second; "neighbors" goes on from there and paints
                with the reference's own forms and strokes, in half a minute and more (Kolkin et al., 2022; see
                `agnlib.neighbors`). It needs pictures as styles; a class, or "random", stands for one of the works
                that come with agnlib.
            drawing: of "neighbors", how much of the photo's drawing stays, from 0 (its forms dissolve into the
                reference's) to 1 (only the finest strokes are the reference's); None for 0.5.
            on_step: of "neighbors", called after each step with an `agnlib.neighbors.Progress`, of a batch with that on
                all its pictures; what it raises ends the work.
            strength: from 0 (the input, bit for bit) to 1.
            texture: from 0 to 1, times `strength`: of the lightness, where brushwork and drawing are.
            color: from 0 to 1, times `strength`: of the colors.
            preserve_color: keep the photo's colors; as `color=0`, in place of it.
            color_only: keep the photo's lightness; as `texture=0`, in place of it.
            scale: how broad the strokes are. "auto" has the network paint pictures of more than about 1.5 megapixels at
                one megapixel, so that strokes are as broad beside the picture in each. From 0.1 to 10 they are so in
                pixels, 2 being painted at half the size. What is enlarged has the photo's edges sharp.
            mask: where the style goes: white there, black where the photo stays, gray between; any kind of picture,
                or an array or tensor of booleans. A list of masks stands for regions, with a list of as many styles,
                one for each; with one style more than masks, the last takes what the masks leave. The network paints
                all regions in one go. A mask of another size is resized, with a warning.
            seed: draws a latent that varies the painting, and a style that was given by name; every picture of a batch
                gets the same one. None paints the deterministic middle.
            size: scale the content down first until its longer side has at most so many pixels. The result has that
                size too. A JPEG file beyond the limits is reduced while it is decoded: see `agnlib.image.Limits`.
            tile: "auto" paints in tiles what is large for the device's memory, and in smaller ones if memory runs out
                all the same; a number of pixels is the tiles' side, without what they see around them; None paints the
                picture at once.
            progress: True shows a bar after two seconds. A function is told `(done, total)` in this thread, here in
                shares of 1, after each tile or step of "neighbors": `done` never goes back and is `total` once, before
                anything is given back or written. What it raises ends the work: so a call is cancelled.

        Returns:
            The same kind as `content`: a path, bytes or a file come back as a PIL image (of 8 bits; `stylize_file`
            keeps 16); an array or tensor with the same dtype, height, width and alpha. Gray input comes back in color,
            except at strength 0.

        Raises:
            ImageError: a picture file cannot be read.
            InputError: an argument outside its range, of a wrong type or shape, or a picture too large for the memory.

        Example:
            >>> from PIL import Image
            >>> from agnlib.models import Generator, StyleExtractor
            >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
            >>> photo, painting = Image.new("RGB", (40, 30), "navy"), Image.new("RGB", (20, 20), "gold")
            >>> stylizer(photo, [(painting, 2.0), (photo, 1.0)], strength=0.5, size=20).size
            (20, 15)
            >>> import numpy as np
            >>> left = np.arange(40) < 20
            >>> stylizer(photo, [painting, photo], mask=np.tile(left, (30, 1))).size
            (40, 30)
        """
        effect = Effect(strength, texture, color, preserve_color, color_only, scale, tile)
        with telling(progress) as told:
            picture = Picture.take(content, "content", limits=_reduced_to(size))
            style = pictured(style, seed) if method == "neighbors" else style
            given: dict[str, Any] = {"drawing": drawing, "on_step": on_step, "told": told}
            by = NeighborPainter.chosen(method, styles_of(style, mask), self.device, **given)
            painting = self._painting(picture, style, effect, mask=mask, seed=seed, size=size, painter=by)
            result = whole(painting, told)
            told.end(1)
        return result

    def stylize_file(
        self,
        content: PictureFile,
        target: str | os.PathLike[str] | BinaryWriter,
        style: Style,
        *,
        format: str | None = None,
        overwrite: bool = False,
        metadata: Literal["none", "no-gps", "all"] = "none",
        recipe: bool = True,
        quality: int = 95,
        limits: Limits = DEFAULT_LIMITS,
        progress: bool | Listener = False,
        **options: Unpack[PaintingOptions],
    ) -> tuple[int, int]:
        """Repaint a picture file into another: written whole or not at all, in the format of the target's suffix.

        Where the format holds 16 bits a channel (PNG, TIFF) and the content has them, they are kept. PNG and TIFF are
        written strip by strip while the picture is being painted.

        Args:
            content: a JPEG, PNG, WebP, TIFF, BMP, AVIF or HEIC file, its bytes or a binary file object: see
                `agnlib.image.load`.
            target: a path or a binary file object: see `agnlib.image.save`, as `format`.
            style: see `__call__`, as the options and `progress`.
            format: of a file object, and only of one, such as "png".
            overwrite: whether a file or link in place of the target may be replaced.
            metadata: of the content's EXIF, what is written along: "none", "no-gps" (camera, date, author, but not the
                place) or "all". Orientation is applied to the pixels, and a thumbnail of the photo is never kept.
            recipe: have the file say what it was made with, for `agnlib.image.read_recipe`: weights, names of the
                styles without their folders, and options; in EXIF, which BMP does not have.
            quality: of JPEG and WebP, 1 to 100.
            limits: of the content, the style and the mask, checked before they are decoded.
            options: as in `__call__`.

        Returns:
            Height and width of what was written.

        Raises:
            ImageError: the content cannot be read or the target not be written.
            InputError: as `__call__`, or something is in place of the target.

        Example:
            >>> import tempfile
            >>> from PIL import Image
            >>> from agnlib.models import Generator, StyleExtractor
            >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     Image.new("RGB", (40, 30), "navy").save(f"{folder}/photo.jpg")
            ...     code = stylizer.encode_style(f"{folder}/photo.jpg")
            ...     stylizer.stylize_file(f"{folder}/photo.jpg", f"{folder}/painted.png", code)
            (30, 40)
        """
        check_progress(progress)
        place = free_target(target, format, overwrite=overwrite)
        check_quality(quality)
        given: dict[str, Any] = {"mask": None, "seed": None, "size": None, **BY_NETWORK, **options}
        mask, seed, size = (given.pop(name) for name in ("mask", "seed", "size"))
        method = {name: given.pop(name) for name in BY_NETWORK}
        effect = Effect(**given)
        style = pictured(style, seed, limits) if method["method"] == "neighbors" else style
        with telling(progress) as told:
            given = {"device": self.device, "limits": limits, "told": told, **method}
            by = NeighborPainter.chosen(styles=styles_of(style, mask), **given)
            photo = Photo.open(content, place, metadata=metadata, limits=_reduced_to(size, limits))
            if photo.further:
                warnings.warn(f"{photo.name} has several {photo.further}; only the first is painted", stacklevel=2)
            if recipe:
                noted: dict[str, Any] = {"drawing": None if by is None else by.plan.drawing, "seed": seed, "size": size}
                photo.note(recipe_of(self.name, styles_of(style, mask), effect, **noted), place)
            chosen = {"mask": mask, "seed": seed, "size": size, "limits": limits, "painter": by}
            painted = rows(self._painting(photo.picture, style, effect, **chosen), told)
            write_rows(place, painted, told.until_end(painted.parts, 1), quality=quality, exif=photo.exif)
        return painted.shape[:2]

    def stylize_video(
        self,
        content: str | os.PathLike[str],
        target: str | os.PathLike[str],
        style: Style,
        *,
        overwrite: bool = False,
        smoothing: float = 0.5,
        progress: bool | Listener = False,
        **options: Unpack[PaintingOptions],
    ) -> tuple[int, int, int]:
        """Repaint a clip into another, frame by frame without flicker: written whole or not at all.

        All but GIF and animated WebP need the extra `video`.

        The style code is the same for all frames. Against flicker, optical flow says how things move: along it the
        pixels that are painted are averaged, so that noise is not painted; the painting goes along with the camera; and
        the last one is carried into the next. The statistics by which the network normalizes are averaged, too, so that
        what enters the frame does not change the whole of it. What a mask, a low strength or `preserve_color` leaves of
        the photo is the clip's own. All start afresh where a new scene begins: where neighboring frames, reduced to
        16 x 16 pixels, differ by more than 25 of 255 in the mean.

        Sound is copied as it is. Times, frame rate, rotation and the shape of the pixels are the clip's. H.264 has only
        even sizes: an odd one gets one more row or column, which repeats the last. Colors are written as BT.709.
        Subtitles, chapters and metadata such as the place are not kept. Transparency is kept in .webm, .webp and .gif,
        and an error where it would be lost. GIF and WebP have no sound; they keep how often they are shown.

        Args:
            content: an .mp4, .m4v, .mov, .mkv, .webm, .avi, .gif or .webp file.
            target: .mp4, .m4v, .mov or .mkv for H.264 (crf 18), .webm for VP9, .gif or .webp.
            style: see `__call__`, as the options. A mask is for all frames.
            overwrite: whether a file or link in place of the target may be replaced.
            smoothing: in seconds, the time constant of both means, and five times that of what is carried; 0 paints
                each frame by itself, without OpenCV. So are a GIF's and WebP's where that is not installed.
            progress: see `__call__`; in frames, whose `total` is what the clip says of itself until the end.
            options: as in `__call__`.

        Returns:
            The number of frames written, their height and their width.

        Raises:
            MissingDependencyError: PyAV, or OpenCV for `smoothing`, is not installed.
            VideoError: the clip cannot be read, or ends before it should; or the target cannot be written.
            InputError: as `__call__`, `smoothing` is not a number from 0 to 60, or something is in place of the target.

        Example:
            >>> from agnlib.models import Generator, StyleExtractor
            >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
            >>> stylizer.stylize_video("missing.mp4", "painted.mp4", "random")
            Traceback (most recent call last):
            ...
            agnlib.errors.VideoError: 'missing.mp4' does not exist; give a clip
        """
        from agnlib.video._names import is_animation
        from agnlib.video.repainting import repaint

        values: dict[str, Any] = {"mask": None, "seed": None, "size": None, **options}
        mask, seed, size = (values.pop(name) for name in ("mask", "seed", "size"))
        refuse_neighbors({name: values.pop(name, default) for name, default in BY_NETWORK.items()})
        effect, averages = Effect(**values), Smoothing(smoothing)
        z = self._styles.latent(seed)

        def painter(frame_size: tuple[int, int]) -> FramePainter:
            steadying = Steadying.chosen(smoothing, required=not is_animation(content))
            camera = None if steadying is None else steadying.camera
            styles, masks = paired(style, mask, frame_size)
            codes = torch.cat([self._style_vector(each, seed) for each in styles])

            def painting(frames: Picture, photo: Picture) -> Painting:
                if size is not None:
                    frames, photo = (each.reduced(longer=checked_size(size)) for each in (frames, photo))
                given = (self.generator, self.extractor, frames, codes, masks, z, effect)
                return Painting(*given, averages if smoothing else None, camera, self._engine, photo)

            return FramePainter(painting, steadying, averages, self.device)

        given: dict[str, Any] = {"batch": self._frames_at_once, "overwrite": overwrite, "progress": progress}
        return repaint(content, target, painter, **given)

    @property
    def _frames_at_once(self) -> int:
        """Frames of a clip that are read at once; with `smoothing` they are painted one by one all the same."""
        return 8 if self.device.type == "cuda" else 1

    def _painting(
        self,
        picture: Picture,
        style: Any,
        effect: Effect,
        *,
        mask: Any,
        seed: int | None,
        size: int | None,
        limits: Limits = DEFAULT_LIMITS,
        painter: NeighborPainter | None = None,
    ) -> Painting:
        z = self._styles.latent(seed)
        styles, masks = paired(style, mask, picture.size, limits)
        if size is not None:
            picture = picture.reduced(longer=checked_size(size))
        codes = torch.cat([self._style_vector(each, seed, limits) for each in styles])
        given = (self.generator, self.extractor, picture, codes, masks, z, effect)
        return Painting(*given, engine=self._engine, painter=painter)


def _reduced_to(size: int | None, limits: Limits = DEFAULT_LIMITS) -> Limits:
    return replace(limits, reduced_to=None if size is None else checked_size(size))

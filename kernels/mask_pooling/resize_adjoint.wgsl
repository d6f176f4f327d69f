// by_source[plane][y][x] = sum over the pixels of the feature map that interpolate logit (y, x), of
// their share times by_logit: the transpose of the bilinear resize. Gathered rather than scattered,
// so that the order of summation is fixed. An invocation computes one place of eight planes, for
// which the shares are the same.

struct Params {
  planes: u32,
  mask_height: u32,
  mask_width: u32,
  height: u32,
  width: u32,
  result_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> by_logit: array<f32>;
@group(0) @binding(2) var<storage, read_write> by_source: array<f32>;

// The cells i of `size_out` whose centre lies within one cell of that of `source`, of `size_in`.
// At the ends everything beyond belongs to the last cell.
fn reach(source: u32, size_in: u32, size_out: u32) -> vec2<u32> {
  var range = vec2<u32>(0u, size_out);
  if (source > 0u) {
    range.x = (size_out * (2u * source - 1u) / size_in + 1u) / 2u;
  }
  if (source + 1u < size_in) {
    range.y = min(size_out, (size_out * (2u * source + 3u) + size_in - 1u) / size_in / 2u);
  }
  return range;
}

// How much of `source` cell i takes; rounded as in resize.wgsl.
fn share(i: u32, source: u32, size_in: u32, size_out: u32) -> f32 {
  let numerator = max((2u * i + 1u) * size_in, size_out) - size_out;
  let low = numerator / (2u * size_out);
  let fraction = f32(numerator % (2u * size_out)) / f32(2u * size_out);
  let high = min(low + 1u, size_in - 1u);
  return select(0.0, 1.0 - fraction, source == low) + select(0.0, fraction, source == high);
}

fn gather(at: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(by_logit[at.x], by_logit[at.y], by_logit[at.z], by_logit[at.w]);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let id = (group.x + group.y * groups.x) * 64u + local;
  let size = params.mask_height * params.mask_width;
  let first = id / size * 8u;
  if (first >= params.planes) {
    return;
  }
  let source = vec2<u32>(id % size % params.mask_width, id % size / params.mask_width);
  let pixels = params.height * params.width;
  let steps = vec4<u32>(0u, 1u, 2u, 3u);
  let starts0 = min(first + steps, vec4<u32>(params.planes - 1u)) * pixels;
  let starts1 = min(first + 4u + steps, vec4<u32>(params.planes - 1u)) * pixels;
  let columns = reach(source.x, params.mask_width, params.width);
  let rows = reach(source.y, params.mask_height, params.height);
  var sum0 = vec4<f32>();
  var sum1 = vec4<f32>();
  for (var y = rows.x; y < rows.y; y++) {
    var part0 = vec4<f32>();
    var part1 = vec4<f32>();
    for (var x = columns.x; x < columns.y; x++) {
      let part = share(x, source.x, params.mask_width, params.width);
      part0 += part * gather(starts0 + y * params.width + x);
      part1 += part * gather(starts1 + y * params.width + x);
    }
    let part = share(y, source.y, params.mask_height, params.height);
    sum0 += part * part0;
    sum1 += part * part1;
  }
  let at = params.result_offset + first * size + id % size;
  for (var i = 0u; i < 4u; i++) {
    if (first + i < params.planes) {
      by_source[at + i * size] = sum0[i];
    }
    if (first + 4u + i < params.planes) {
      by_source[at + (4u + i) * size] = sum1[i];
    }
  }
}

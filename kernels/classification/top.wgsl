// tops[n] = the n-th mask's most probable class. One workgroup per four masks.

struct Params {
  groups: u32,
  classes: u32,
}

struct Top {
  probability: f32,
  class_index: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> probabilities: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> tops: array<Top>;

var<workgroup> values: array<vec4<f32>, 64>;
var<workgroup> indices: array<vec4<u32>, 64>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let group = workgroup.x + workgroup.y * workgroups.x;
  var best = vec4(-1.0);
  var at = vec4(0u);
  if (group < params.groups) {
    for (var c = local; c < params.classes; c += 64u) {
      let p = probabilities[group * params.classes + c];
      let more = p > best;
      best = select(best, p, more);
      at = select(at, vec4(c), more);
    }
  }
  values[local] = best;
  indices[local] = at;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (local < half) {
      let other = values[local + half];
      let more = (other > values[local]) |
        ((other == values[local]) & (indices[local + half] < indices[local]));
      values[local] = select(values[local], other, more);
      indices[local] = select(indices[local], indices[local + half], more);
    }
    workgroupBarrier();
  }
  if (local < 4u && group < params.groups) {
    tops[group * 4u + local] = Top(values[0][local], indices[0][local]);
  }
}

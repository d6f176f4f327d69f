// out[slot] = the largest of the values, none of which is negative. One workgroup.

struct Params {
  count: u32,
  slot: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32) {
  var largest = 0.0;
  for (var i = local; i < params.count; i += 64u) {
    // Also true of NaN, which then stays.
    if (!(values[i] <= largest)) {
      largest = values[i];
    }
  }
  largest = max_over_workgroup(largest, local);
  if (local == 0u) {
    out[params.slot] = largest;
  }
}

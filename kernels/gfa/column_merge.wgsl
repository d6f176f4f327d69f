// Merges the chunks of every column: largest = max over chunks of largest_of,
// sum = sum over chunks of sum_of * exp(largest_of - largest). One invocation per column.

struct Params {
  columns: u32,
  stride: u32,
  batches: u32,
  chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> largest_of: array<f32>; // [batches][chunks][stride]
@group(0) @binding(2) var<storage, read> sum_of: array<f32>; // [batches][chunks][stride]
@group(0) @binding(3) var<storage, read_write> largest_out: array<f32>; // [batches][stride]
@group(0) @binding(4) var<storage, read_write> sum_out: array<f32>; // [batches][stride]

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let id = (group.x + group.y * groups.x) * 64u + local;
  let batch = id / params.stride;
  let column = id % params.stride;
  if (batch >= params.batches || column >= params.columns) {
    return;
  }
  let start = batch * params.chunks * params.stride + column;
  var largest = -3.0e38;
  for (var c = 0u; c < params.chunks; c++) {
    largest = max(largest, largest_of[start + c * params.stride]);
  }
  var sum = 0.0;
  for (var c = 0u; c < params.chunks; c++) {
    let at = start + c * params.stride;
    sum += sum_of[at] * exp(largest_of[at] - largest);
  }
  largest_out[id] = largest;
  sum_out[id] = sum;
}

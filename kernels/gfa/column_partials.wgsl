// Per column i and chunk of rows, for the L1 norm of Z's columns. With softmax the largest logit and
//   sum over n of exp(logits[n][i] - largest) * row_sums[n];
// raw: 0 and the sum of |logits[n][i]|. Begins with column_lanes.wgsl.

@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> row_sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> largest_of: array<f32>; // [batches][all_chunks][stride]
@group(0) @binding(4) var<storage, read_write> sum_of: array<f32>; // [batches][all_chunks][stride]

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let lane = lane_of(group.x + group.y * groups.x, local);
  var largest = select(-3.0e38, 0.0, params.raw == 1u);
  if (lane.inside && params.raw == 0u) {
    for (var n = lane.first; n < lane.end; n += 16u) {
      largest = max(largest, logits[n * params.stride + lane.column]);
    }
  }
  largest = max_over_lanes(largest, local);
  var sum = 0.0;
  if (lane.inside) {
    for (var n = lane.first; n < lane.end; n += 16u) {
      let logit = logits[n * params.stride + lane.column];
      if (params.raw == 1u) {
        sum += abs(logit);
      } else {
        sum += exp(logit - largest) * row_sums[n];
      }
    }
  }
  sum = sum_over_lanes(sum, local);
  if (lane.writes) {
    largest_of[lane.place] = largest;
    sum_of[lane.place] = sum;
  }
}

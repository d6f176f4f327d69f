// target[r/4][i] = the i-th of `count` columns of the rows r … r + 3, as one vector of float32. Rows
// beyond the last are zero. Also notes the first element that is NaN or infinite.
//
// One invocation per four rows and column.

struct Params {
  rows: u32,
  first_group: u32,
  groups: u32,
  row_stride: u32,
  first_element: u32,
  count: u32,
  tensor_stride: u32,
  first_column: u32,
  blocks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<Element>;
@group(0) @binding(2) var<storage, read_write> columns: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> fault: atomic<u32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let task = workgroup.x + workgroup.y * workgroups.x;
  let group = params.first_group + task / params.blocks;
  let column = (task % params.blocks) * 64u + local;
  if (group >= params.first_group + params.groups || column >= params.count) {
    return;
  }
  var values = vec4<f32>();
  for (var q = 0u; q < 4u; q++) {
    let row = group * 4u + q;
    var value = 0.0;
    if (row < params.rows) {
      // The binding may begin inside the tensor: the difference wraps around and back.
      value = f32(source[row * params.row_stride + column - params.first_element]);
      if ((bitcast<u32>(value) & 0x7f800000u) == 0x7f800000u) {
        atomicMin(&fault, row * params.tensor_stride + params.first_column + column);
      }
    }
    values = vec4(values.yzw, value);
  }
  columns[group * params.count + column] = values;
}

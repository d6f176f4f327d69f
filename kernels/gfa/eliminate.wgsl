// A step of blocked Gauss-Jordan elimination, second half: for every row outside diagonal block k,
// row -= row[block] * (the block's rows), right of the block.
//
// One workgroup per tile of 64 rows and 64 columns, 4 x 4 results per invocation.

struct Params {
  rows: u32,
  width: u32,
  begin: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> system: array<f32>;

var<workgroup> left: array<f32, 1024>; // [16 of k][64 rows]
var<workgroup> right: array<f32, 1024>; // [16 of k][64 columns]

fn update(row: u32, column: u32, size: u32, delta: f32) {
  if (row < params.rows && column < params.width &&
      (row < params.begin || row >= params.begin + size)) {
    system[row * params.width + column] -= delta;
  }
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let size = min(32u, params.rows - params.begin);
  let first = params.begin + size;
  let tiles = (params.width - first + 63u) / 64u;
  let tile = group.x + group.y * groups.x;
  let row0 = (tile / tiles) * 64u;
  let column0 = first + (tile % tiles) * 64u;
  let tx = local % 16u;
  let ty = local / 16u;
  var sum0 = vec4<f32>();
  var sum1 = vec4<f32>();
  var sum2 = vec4<f32>();
  var sum3 = vec4<f32>();
  for (var k0 = 0u; k0 < size; k0 += 16u) {
    for (var i = local; i < 1024u; i += 256u) {
      let row = row0 + i / 16u;
      var k = k0 + i % 16u;
      var value = 0.0;
      if (row < params.rows && k < size) {
        value = system[row * params.width + params.begin + k];
      }
      left[(i % 16u) * 64u + i / 16u] = value;
      let column = column0 + i % 64u;
      k = k0 + i / 64u;
      value = 0.0;
      if (column < params.width && k < size) {
        value = system[(params.begin + k) * params.width + column];
      }
      right[i] = value;
    }
    workgroupBarrier();
    for (var k = 0u; k < 16u; k++) {
      let at = k * 64u;
      let values = vec4<f32>(
        right[at + tx],
        right[at + tx + 16u],
        right[at + tx + 32u],
        right[at + tx + 48u],
      );
      sum0 += left[at + ty] * values;
      sum1 += left[at + ty + 16u] * values;
      sum2 += left[at + ty + 32u] * values;
      sum3 += left[at + ty + 48u] * values;
    }
    workgroupBarrier();
  }
  for (var j = 0u; j < 4u; j++) {
    let column = column0 + tx + 16u * j;
    update(row0 + ty, column, size, sum0[j]);
    update(row0 + ty + 16u, column, size, sum1[j]);
    update(row0 + ty + 32u, column, size, sum2[j]);
    update(row0 + ty + 48u, column, size, sum3[j]);
  }
}

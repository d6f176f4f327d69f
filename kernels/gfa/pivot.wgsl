// A step of blocked Gauss-Jordan elimination, first half: multiplies the rows of diagonal block k,
// right of the block, by the block's inverse, in place. No pivoting: the matrix is diagonally
// dominant by rows.
//
// One workgroup per 64 columns. Each eliminates the block anew in workgroup memory; the block
// itself is not written, so that no workgroup changes what another reads.

struct Params {
  rows: u32, // of the matrix
  width: u32, // of the augmented matrix
  begin: u32, // the block's first row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> system: array<f32>;

var<workgroup> block: array<f32, 1024>; // [32][32]
var<workgroup> right: array<f32, 2048>; // [32][64]

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let size = min(32u, params.rows - params.begin);
  let column0 = params.begin + size + (group.x + group.y * groups.x) * 64u;
  for (var i = local; i < 1024u; i += 256u) {
    let row = i / 32u;
    let column = i % 32u;
    // Rows and columns beyond the matrix are the identity's.
    var value = select(0.0, 1.0, row == column);
    if (row < size && column < size) {
      value = system[(params.begin + row) * params.width + params.begin + column];
    }
    block[i] = value;
  }
  for (var i = local; i < 2048u; i += 256u) {
    let row = i / 64u;
    let column = column0 + i % 64u;
    var value = 0.0;
    if (row < size && column < params.width) {
      value = system[(params.begin + row) * params.width + column];
    }
    right[i] = value;
  }
  workgroupBarrier();
  for (var j = 0u; j < size; j++) {
    let pivot = block[j * 32u + j];
    // Column j stays as it is during step j: it holds the factors that all others need.
    if (local < 32u) {
      if (local > j) {
        block[j * 32u + local] /= pivot;
      }
    } else if (local < 96u) {
      right[j * 64u + local - 32u] /= pivot;
    }
    workgroupBarrier();
    for (var i = local; i < 1024u; i += 256u) {
      let row = i / 32u;
      let column = i % 32u;
      if (row != j && column > j) {
        block[i] -= block[row * 32u + j] * block[j * 32u + column];
      }
    }
    for (var i = local; i < 2048u; i += 256u) {
      let row = i / 64u;
      if (row != j) {
        right[i] -= block[row * 32u + j] * right[j * 64u + i % 64u];
      }
    }
    workgroupBarrier();
  }
  for (var i = local; i < 2048u; i += 256u) {
    let row = i / 64u;
    let column = column0 + i % 64u;
    if (row < size && column < params.width) {
      system[(params.begin + row) * params.width + column] = right[i];
    }
  }
}

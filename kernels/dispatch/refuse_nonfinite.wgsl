// first[0] = the smallest index of an element that is NaN or infinite; 0xffffffff where there is
// none. Bits are tested, since a compiler may take it that there is no NaN. Two float16 elements
// share a word. A Cell is `lanes` words: four, which a software adapter loads at the price of one,
// or one. An invocation handles `run` cells, each 64 behind the last.

struct Params {
  elements: u32,
  cells: u32,
  offset: u32, // of the first cell
  run: u32,
  base: u32, // index of the first element
  per_word: u32, // elements of a word
  low: u32, // the exponent of a word's first element; all ones where it isn't finite
  high: u32, // that of its last
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<Cell>;
@group(0) @binding(2) var<storage, read_write> first: array<atomic<u32>>;

fn report(cell: u32) {
  let values = vec4<u32>(words[params.offset + cell]);
  for (var lane = 0u; lane < lanes; lane++) {
    let index = (cell * lanes + lane) * params.per_word;
    if ((values[lane] & params.low) == params.low) {
      atomicMin(&first[0], params.base + index);
    }
    // The last word of an odd number of float16 elements is half empty.
    let last = index + params.per_word - 1u;
    if ((values[lane] & params.high) == params.high && last < params.elements) {
      atomicMin(&first[0], params.base + last);
    }
  }
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let begin = (group.x + group.y * groups.x) * 64u * params.run + local;
  var low = Cell();
  var high = Cell();
  for (var i = 0u; i < params.run; i++) {
    let value = words[params.offset + min(begin + 64u * i, params.cells - 1u)];
    low = max(low, value & Cell(params.low));
    high = max(high, value & Cell(params.high));
  }
  if (any(low == Cell(params.low)) || any(high == Cell(params.high))) {
    for (var i = 0u; i < params.run; i++) {
      report(min(begin + 64u * i, params.cells - 1u));
    }
  }
}

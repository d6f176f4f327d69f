// The geometric ensemble of queries and others; void is left to the queries. With q the logits of a
// row's query and a those of the other row, void last, and s the others' share of each class,
//   log p(void) = q[void] - lse(q)
//   log p(c) = m[c] - lse(m) + (lse(q without void) - lse(q))
//   m[c] = (1 - s[c]) (q[c] - lse(q without void)) + s[c] (a[c] - lse(a without void))
// where lse(x) = log sum exp(x). Of a mask without pixels s is 0. In place over q. One workgroup per
// row.

struct Params {
  rows: u32,
  columns: u32, // void included
  empty: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> others: array<f32>;
@group(0) @binding(2) var<storage, read> shares: array<f32>;
@group(0) @binding(3) var<storage, read> areas: array<f32>;
@group(0) @binding(4) var<storage, read_write> logits: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let row = group.x + group.y * groups.x;
  let start = row * params.columns;
  let classes = params.columns - 1u;
  // Rows beyond the last take part in the sums, and are empty.
  let count = select(0u, classes, row < params.rows);
  let area = areas[min(row, params.rows - 1u)];
  let heard = select(0.0, 1.0, row < params.rows && !(area <= params.empty));
  // Read before the first barrier: one lane writes over it at the end.
  let nothing = logits[min(row, params.rows - 1u) * params.columns + classes];
  var top_query = -3.0e38;
  var top_others = -3.0e38;
  for (var c = local; c < count; c += 64u) {
    top_query = max(top_query, logits[start + c]);
    top_others = max(top_others, others[start + c]);
  }
  top_query = max_over_workgroup(top_query, local);
  top_others = max_over_workgroup(top_others, local);
  var sum_query = 0.0;
  var sum_others = 0.0;
  for (var c = local; c < count; c += 64u) {
    sum_query += exp(logits[start + c] - top_query);
    sum_others += exp(others[start + c] - top_others);
  }
  let categories = top_query + log(sum_over_workgroup(sum_query, local));
  let among_others = top_others + log(sum_over_workgroup(sum_others, local));
  // Each lane writes over its own classes alone.
  var top = -3.0e38;
  for (var c = local; c < count; c += 64u) {
    let share = heard * shares[c];
    let joined = (1.0 - share) * (logits[start + c] - categories) +
      share * (others[start + c] - among_others);
    logits[start + c] = joined;
    top = max(top, joined);
  }
  top = max_over_workgroup(top, local);
  var sum = 0.0;
  for (var c = local; c < count; c += 64u) {
    sum += exp(logits[start + c] - top);
  }
  let among = top + log(sum_over_workgroup(sum, local));
  if (row >= params.rows) {
    return;
  }
  let top_all = max(categories, nothing);
  let all = top_all + log(exp(categories - top_all) + exp(nothing - top_all));
  for (var c = local; c < classes; c += 64u) {
    logits[start + c] = (logits[start + c] - among) + (categories - all);
  }
  if (local == 0u) {
    logits[start + classes] = nothing - all;
  }
}

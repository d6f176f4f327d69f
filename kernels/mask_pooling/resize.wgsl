// Bilinear interpolation with half-pixel centres (align_corners = false).

struct Column {
  low: Columns,
  high: Columns,
  fraction: Cell,
}

struct Row {
  low: u32,
  high: u32,
  fraction: f32,
}

// Where the centres of some columns of the result fall among the logits' columns. In integers, so
// that the position is exact and only the fraction is rounded.
fn locate(column: u32) -> Column {
  let size = params.mask_width;
  let ahead = (2u * columns_of(column) + 1u) * size;
  // Left of the first centre the position is that centre.
  let numerator = max(ahead, Columns(params.width)) - Columns(params.width);
  let denominator = 2u * params.width;
  let low = numerator / denominator;
  let fraction = Cell(numerator % denominator) / f32(denominator);
  return Column(low, min(low + 1u, Columns(size - 1u)), fraction);
}

fn locate_row(row: u32) -> Row {
  let size = params.mask_height;
  let ahead = (2u * row + 1u) * size;
  let numerator = max(ahead, params.height) - params.height;
  let denominator = 2u * params.height;
  let low = numerator / denominator;
  return Row(low, min(low + 1u, size - 1u), f32(numerator % denominator) / f32(denominator));
}

fn interpolate(start: u32, column: Column) -> Cell {
  return (1.0 - column.fraction) * gather(start, column.low) +
    column.fraction * gather(start, column.high);
}

fn logit(plane: u32, row: u32, column: Column) -> Cell {
  let start = params.offset + plane * params.mask_height * params.mask_width;
  let y = locate_row(row);
  return (1.0 - y.fraction) * interpolate(start + y.low * params.mask_width, column) +
    y.fraction * interpolate(start + y.high * params.mask_width, column);
}

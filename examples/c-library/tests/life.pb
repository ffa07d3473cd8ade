# Conway's game of life: a glider crosses a small torus.
let size = 8;
fn at(board, x, y) { board[(y % size) * size + x % size] }
fn neighbours(board, x, y) {
  let sum = 0;
  let dy = -1;
  while dy < 2 {
    let dx = -1;
    while dx < 2 {
      if dx != 0 or dy != 0 { sum = sum + at(board, x + dx, y + dy); }
      dx = dx + 1;
    }
    dy = dy + 1;
  }
  sum
}
fn next(board) {
  map(range(0, size * size), fn(i) {
    let n = neighbours(board, i % size, floor(i / size));
    if n == 3 or (n == 2 and board[i] == 1) { 1 } else { 0 }
  })
}
fn show(board) {
  let y = 0;
  while y < size {
    print(join(map(range(0, size), fn(x) { if at(board, x, y) == 1 { "#" } else { "." } }), ""));
    y = y + 1;
  }
  print("");
}
let board = map(range(0, size * size), fn(i) { 0 });
map([[1, 0], [2, 1], [0, 2], [1, 2], [2, 2]], fn(p) { board[p[1] * size + p[0]] = 1 });
show(board);
let turn = 0;
while turn < 12 { board = next(board); turn = turn + 1; }
show(board);

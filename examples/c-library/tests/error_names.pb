fn counter() {
  let n = 0;
  fn() { n = n + 1 }
}
fn twice(a, a) { a }
{ let x = 1; let x = 2; }

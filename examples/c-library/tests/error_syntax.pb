let a = ;
let b = (1 + 2;
fn (x { x }
1 + = 2;
"no end
let c = 3 @ 4;
3 = c;

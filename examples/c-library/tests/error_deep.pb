fn forever(n) { 1 + forever(n + 1) }
forever(0)

# What git says of the workspace: facts for conditions. Each is asked for whenever a plan is made that needs it:
# where the repository is, and which of its files tell, differs between clones, work trees and submodules.

# the branch that is checked out; no row where HEAD is on none
fact "branch" {
  columns = { name = string }
  probe {
    run = "git branch --show-current"
  }
}

# the commit that is checked out
fact "commit" {
  columns = { hash = string }
  probe {
    run = "git rev-parse --quiet --verify HEAD || true"
  }
}

# a tag of the commit that is checked out
fact "tag" {
  columns = { name = string }
  probe {
    run = "git tag --points-at HEAD 2> /dev/null || true"
  }
}

# a path that differs from that commit, or that git does not know and does not ignore
fact "changed" {
  columns = { path = string }
  probe {
    run = "git -c core.quotePath=false status --porcelain --untracked-files=all --no-renames | cut -c4-"
  }
}

# holds where nothing has changed
fact "clean" {
  columns = {}
  probe {
    run = "[ -n \"$(git status --porcelain)\" ] || echo clean"
  }
}

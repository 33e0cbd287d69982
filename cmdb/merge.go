package cmdb

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kemi.dev/kemi/cmdb/source"
	"kemi.dev/kemi/internal/conf"
)

// part is what one source contributes to the whole.
type part struct {
	origin string
	found  []source.Found
	// yields: a target that another part has too is the other's. So it is with what is kept of a source that no longer
	// names it: the target may have moved.
	yields bool
}

// whole is what all sources say together.
type whole struct {
	found map[string]source.Found
	// problems by the index of the part they were found in.
	problems map[int]conf.Problems
}

func (w *whole) complain(part int, p conf.Problem) {
	w.problems[part] = append(w.problems[part], p)
}

// merge puts the parts together and finds what only shows then: an id that is there twice, relations to what is not
// there, relations that go round in a circle. With partial set some targets may be missing, and relations to them are
// left alone.
func merge(parts []part, partial bool) *whole {
	w := &whole{found: map[string]source.Found{}, problems: map[int]conf.Problems{}}
	owner := map[string]int{}
	for _, yielding := range []bool{false, true} {
		for i, p := range parts {
			if p.yields != yielding {
				continue
			}
			for _, f := range p.found {
				first, twice := w.found[f.Target.ID]
				switch {
				case !twice:
					w.found[f.Target.ID], owner[f.Target.ID] = f, i
				case !yielding && f.Target.ID != "":
					w.twice(parts, owner[f.Target.ID], first.At, i, f.At, f.Target.ID)
				}
			}
		}
	}
	ids := slices.Sorted(maps.Keys(w.found))
	if !partial {
		w.missing(ids, owner)
	}
	w.cycles(ids, owner)
	return w
}

func (w *whole) twice(parts []part, a int, first conf.Pos, b int, second conf.Pos, id string) {
	const do = "give one of them another id, or remove it"
	switch {
	case first != second || first.Line == 0:
	case a == b:
		w.complain(a, first.Problem(fmt.Sprintf("the target %q is there twice, the second time by an alias", id), "remove the alias"))
		return
	default:
		p := first.Problem(fmt.Sprintf("the target %q is read by two sources, %s and %s", id, parts[a].origin, parts[b].origin), "let only one of them read this file")
		w.complain(a, p)
		w.complain(b, p)
		return
	}
	w.complain(a, first.Problem(fmt.Sprintf("the target %q is there twice, again at %s", id, place(second)), do))
	w.complain(b, second.Problem(fmt.Sprintf("the target %q is there twice, first at %s", id, place(first)), do))
}

// once returns the problems sorted and each of them once: an alias may repeat a mistake, and sources may share one.
func once(problems conf.Problems) conf.Problems {
	sorted, _ := problems.Err().(conf.Problems)
	return sorted
}

func place(at conf.Pos) string {
	if at.Line == 0 {
		return "a place that is not known"
	}
	return fmt.Sprintf("%s:%d:%d", at.File, at.Line, at.Column)
}

// missing finds relations to what is not there.
func (w *whole) missing(ids []string, owner map[string]int) {
	const suggestions = 20 // Each costs a comparison with every id.
	said := 0
	for _, id := range ids {
		for _, ref := range w.found[id].Refs {
			if _, there := w.found[ref.ID]; there {
				continue
			}
			do := "correct the id, or add the target"
			if said++; said <= suggestions {
				if near := conf.Nearest(ref.ID, ids); near != "" {
					do = fmt.Sprintf("did you mean %q?", near)
				}
			}
			w.complain(owner[id], ref.At.Problem(fmt.Sprintf("%s of %q names %q, which is not there", ref.Relation, id, ref.ID), do))
		}
	}
}

// cycles finds relations that lead back to where they began: nothing in such a circle could be the cause of the rest.
// Of circles that touch only the first is told.
func (w *whole) cycles(ids []string, owner map[string]int) {
	const (
		fresh = iota
		open  // on the path from the root
		done
	)
	type step struct {
		id  string
		ref int // the next to look at
	}
	state := make(map[string]int, len(ids))
	for _, root := range ids {
		if state[root] != fresh {
			continue
		}
		path := []step{{id: root}}
		state[root] = open
		for len(path) > 0 {
			top := &path[len(path)-1]
			refs := w.found[top.id].Refs
			if top.ref == len(refs) {
				state[top.id] = done
				path = path[:len(path)-1]
				continue
			}
			ref := refs[top.ref]
			top.ref++
			if _, there := w.found[ref.ID]; !there {
				continue
			}
			switch state[ref.ID] {
			case fresh:
				state[ref.ID] = open
				path = append(path, step{id: ref.ID})
			case open:
				var around strings.Builder
				from := slices.IndexFunc(path, func(s step) bool { return s.id == ref.ID })
				blamed := map[int]bool{}
				for _, s := range path[from:] {
					fmt.Fprintf(&around, "%s %s ", s.id, w.found[s.id].Refs[s.ref-1].Relation)
					blamed[owner[s.id]] = true
				}
				around.WriteString(ref.ID)
				for part := range blamed {
					w.complain(part, ref.At.Problem("the relations go round in a circle: "+around.String(),
						"let each relation point towards what is needed, and take this one away"))
				}
			}
		}
	}
}

package conf

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// validate asks v what is wrong with it. Complaints about fields that have failed already are left out: they would say
// that a value is missing which is only misspelt. For a path into a nested struct it is enough that nothing was said
// about the very value.
func (d *decoder) validate(n Node, v reflect.Value, failed map[string]bool) {
	own, ok := v.Addr().Interface().(Validator)
	if !ok {
		return
	}
	for _, c := range own.Validate() {
		at, exact := n.locate(c.Field)
		first, _, nested := strings.Cut(c.Field, ".")
		if exact && at.v.bad || failed[first] && (!nested || !exact || d.saidAt(at)) {
			continue
		}
		d.complain(at, c.What, c.Do)
	}
}

func (d *decoder) saidAt(n Node) bool {
	return slices.ContainsFunc(d.problems, func(p Problem) bool { return n.Problem(p.What, p.Do) == p })
}

// locate returns the node at a path below n; when it does not exist, exact is false and the node is the deepest one on
// the way there.
func (n Node) locate(path string) (at Node, exact bool) {
	for path != "" {
		var part string
		part, path, _ = strings.Cut(path, ".")
		next := n.Get(part)
		if next.IsZero() {
			next = n.Get(part + "_file")
		}
		if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(n.Items()) {
			next = n.Items()[i]
		}
		if next.IsZero() {
			return n, false
		}
		n = next
	}
	return n, true
}

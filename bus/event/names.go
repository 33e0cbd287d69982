package event

import (
	"net"
	"slices"
	"strings"
)

// LabelName is the target label that is another name of the target, as in DNS.
const LabelName = "name"

// Names finds the ids of targets by what others call them: name or address, whole and without the port. Several targets may
// share one.
type Names map[string][]string

// called lists what a target is called besides its id.
func called(t *Target) []string {
	all := []string{strings.ToLower(t.Labels[LabelName])}
	for _, name := range forms(t.Address) {
		all = append(all, strings.ToLower(name))
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}

// forms lists an address as it is, without the scheme and the path of a URL, and without the port.
func forms(address string) []string {
	authority := address
	if _, rest, isURL := strings.Cut(address, "://"); isURL {
		authority = rest
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			authority = rest[:i]
		}
	}
	host := strings.Trim(authority, "[]")
	if h, _, err := net.SplitHostPort(authority); err == nil {
		host = h
	}
	return []string{address, authority, host}
}

// Add takes in a target.
func (n Names) Add(t *Target) {
	for _, name := range called(t) {
		n[name] = append(n[name], t.ID)
	}
}

// Remove forgets a target as it was added; nil is none.
func (n Names) Remove(t *Target) {
	if t == nil {
		return
	}
	for _, name := range called(t) {
		if n[name] = slices.DeleteFunc(n[name], func(id string) bool { return id == t.ID }); len(n[name]) == 0 {
			delete(n, name)
		}
	}
}

// Find finds the target that others call by an instance: its id, which known looks up, its label name or its address, with or
// without a port, as a URL or not. It is nil when there is none, or more than one and nobody can tell which.
func (n Names) Find(instance string, known func(id string) *Target) *Target {
	all := forms(instance)
	for _, name := range all {
		if t := known(name); t != nil {
			return t
		}
	}
	for _, name := range all {
		if ids := n[strings.ToLower(name)]; len(ids) == 1 {
			return known(ids[0])
		}
	}
	return nil
}

// About is the target that an alert of somebody else's is about by its labels, nil when nobody knows one: called finds what
// is called so.
func About(labels Labels, called func(instance string) *Target) *Target {
	for _, name := range []string{"target", "instance"} {
		if instance := labels.Get(name); instance != "" {
			if t := called(instance); t != nil {
				return t
			}
		}
	}
	return nil
}

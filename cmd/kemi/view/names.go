package view

import (
	"net"
	"slices"
	"strings"

	"kemi.dev/kemi/bus/event"
)

// LabelName is the target label that is another name of the target, as in DNS.
const LabelName = "name"

// names finds targets by what others call them: name or address, whole and without the port. Several targets may share
// one.
type names map[string][]string

// called lists what a target is called besides its id.
func called(t *event.Target) []string {
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

func (n names) add(t *event.Target) {
	for _, name := range called(t) {
		n[name] = append(n[name], t.ID)
	}
}

func (n names) remove(t *event.Target) {
	if t == nil {
		return
	}
	for _, name := range called(t) {
		if n[name] = slices.DeleteFunc(n[name], func(id string) bool { return id == t.ID }); len(n[name]) == 0 {
			delete(n, name)
		}
	}
}

// Called finds the target that others call by an instance: its id, its label name or its address, with or without a port,
// as a URL or not. It is nil when there is none, or more than one and nobody can tell which.
func (s *State) Called(instance string) *event.Target {
	all := forms(instance)
	for _, name := range all {
		if t := s.targets[name]; t != nil {
			return t
		}
	}
	for _, name := range all {
		if ids := s.names[strings.ToLower(name)]; len(ids) == 1 {
			return s.targets[ids[0]]
		}
	}
	return nil
}

// Known returns the target with an id, nil when there is none.
func (s *State) Known(id string) *event.Target { return s.targets[id] }

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
	all := []string{strings.ToLower(t.Labels[LabelName]), strings.ToLower(t.Address), strings.ToLower(host(t.Address))}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}

func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return strings.Trim(address, "[]")
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

// Called finds the target that others call by an instance: its id, its label name or its address, with or without a
// port. It is nil when there is none, or more than one and nobody can tell which.
func (s *State) Called(instance string) *event.Target {
	if t := s.targets[instance]; t != nil {
		return t
	}
	bare := host(instance)
	if t := s.targets[bare]; t != nil {
		return t
	}
	for _, name := range []string{instance, bare} {
		if ids := s.names[strings.ToLower(name)]; len(ids) == 1 {
			return s.targets[ids[0]]
		}
	}
	return nil
}

// Known returns the target with an id, nil when there is none.
func (s *State) Known(id string) *event.Target { return s.targets[id] }

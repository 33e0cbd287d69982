package view

import "kemi.dev/kemi/bus/event"

// Called finds the target that others call by an instance; see event.Names.
func (s *State) Called(instance string) *event.Target { return s.names.Find(instance, s.Known) }

// Known returns the target with an id, nil when there is none.
func (s *State) Known(id string) *event.Target { return s.targets[id] }

package simulate

import (
	"fmt"
	"strings"
)

// topology is who is reached through whom, by position in the fleet.
type topology struct {
	order        []int // every device after those it needs
	needs, anyOf [][]int
}

// newTopology resolves the ids in Needs and AnyOf. A need that does not exist
// or a cycle is an error.
func newTopology(devices []Device) (topology, error) {
	at := make(map[string]int, len(devices))
	for i, d := range devices {
		at[d.ID] = i
	}
	t := topology{needs: make([][]int, len(devices)), anyOf: make([][]int, len(devices))}
	resolve := func(d Device, ids []string) ([]int, error) {
		var out []int
		for _, id := range ids {
			j, ok := at[id]
			if !ok {
				return nil, fmt.Errorf("device %s needs %q, which is not in the fleet: add it or correct the name", d.ID, id)
			}
			out = append(out, j)
		}
		return out, nil
	}
	for i, d := range devices {
		var err error
		if t.needs[i], err = resolve(d, d.Needs); err != nil {
			return t, err
		}
		if t.anyOf[i], err = resolve(d, d.AnyOf); err != nil {
			return t, err
		}
	}
	return t, t.sort(devices)
}

// sort fills order depth first; it walks with a stack of its own because a
// chain may be as long as the fleet.
func (t *topology) sort(devices []Device) error {
	const (
		fresh = iota
		open
		done
	)
	mark := make([]byte, len(devices))
	for root := range devices {
		stack := []int{root}
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			if mark[i] != fresh {
				stack = stack[:len(stack)-1]
				if mark[i] == open {
					mark[i] = done
					t.order = append(t.order, i)
				}
				continue
			}
			mark[i] = open
			for _, list := range [2][]int{t.needs[i], t.anyOf[i]} {
				for _, j := range list {
					if mark[j] == open {
						return fmt.Errorf("devices need each other in a circle: %s: break it at one of them", circle(devices, mark, stack, j))
					}
					if mark[j] == fresh {
						stack = append(stack, j)
					}
				}
			}
		}
	}
	return nil
}

// circle names the open devices on the stack from the one that closes it.
func circle(devices []Device, mark []byte, stack []int, from int) string {
	var names []string
	for _, i := range stack {
		if mark[i] == 1 && (i == from || len(names) > 0) {
			names = append(names, devices[i].ID)
		}
	}
	return strings.Join(append(names, devices[from].ID), " -> ")
}

// reach tells which devices answer, given which are up by themselves: those
// that are up and whose needs all, and alternatives at least one, answer.
func (t *topology) reach(up []bool) []bool {
	out := make([]bool, len(up))
	for _, i := range t.order {
		ok := up[i]
		for _, j := range t.needs[i] {
			ok = ok && out[j]
		}
		if len(t.anyOf[i]) > 0 {
			any := false
			for _, j := range t.anyOf[i] {
				any = any || out[j]
			}
			ok = ok && any
		}
		out[i] = ok
	}
	return out
}

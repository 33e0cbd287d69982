package simulate

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// ErrNoDevice says that a selector matches no device.
var ErrNoDevice = errors.New("no such device")

// retryService is how long to wait before a service whose port was taken by
// somebody else while it was down tries to listen again.
const retryService = time.Second

// View is one device as it stands now.
type View struct {
	ID       string   `json:"id"`
	Class    Class    `json:"class"`
	Address  string   `json:"address"`
	State    string   `json:"state"` // up, down, or unreachable through another device
	Faults   []string `json:"faults"`
	Needs    []string `json:"needs,omitempty"`
	AnyOf    []string `json:"any_of,omitempty"`
	Requests uint64   `json:"requests"` // it was asked so often, answered or not
	Answers  uint64   `json:"answers"`
}

// View tells how a device stands. It reports false for an unknown id.
func (f *Fleet) View(id string) (View, bool) {
	m := f.byID[id]
	if m == nil {
		return View{}, false
	}
	return m.view(f.cfg.Now()), true
}

// Views tells how every device stands, in the fleet's order.
func (f *Fleet) Views() []View {
	out := make([]View, len(f.members))
	now := f.cfg.Now()
	for i, m := range f.members {
		out[i] = m.view(now)
	}
	return out
}

func (m *member) view(now time.Time) View {
	st := m.state.Load()
	v := View{
		ID: m.ID, Class: m.Class, Address: m.addr().String(), State: "up", Faults: st.faults(now),
		Needs: m.Needs, AnyOf: m.AnyOf, Requests: m.asked.Load(), Answers: m.told.Load(),
	}
	switch {
	case !st.answering(now):
		v.State = "down"
	case !m.lit.Load():
		v.State = "unreachable"
	}
	if v.Faults == nil {
		v.Faults = []string{}
	}
	return v
}

// Fault lets a fault strike one device, now.
func (f *Fleet) Fault(id string, fault Fault) error {
	m := f.byID[id]
	if m == nil {
		return fmt.Errorf("%w: %q: ids look like %q", ErrNoDevice, id, f.members[0].ID)
	}
	if err := fault.fits(m.Device); err != nil {
		return err
	}
	return f.strike([]*member{m}, fault)
}

// FaultAll lets a fault strike every device that selector matches: an id, a
// pattern such as "access-*", or "class:switch". It returns their ids.
func (f *Fleet) FaultAll(selector string, fault Fault) ([]string, error) {
	hit, err := f.selected(selector, fault)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(hit))
	for i, m := range hit {
		ids[i] = m.ID
	}
	return ids, f.strike(hit, fault)
}

// selected finds the devices a selector matches and checks that each can have
// the fault.
func (f *Fleet) selected(selector string, fault Fault) ([]*member, error) {
	var hit []*member
	class, byClass := strings.CutPrefix(selector, "class:")
	switch {
	case byClass:
		if _, err := ParseClass(class); err != nil {
			return nil, err
		}
		for _, m := range f.members {
			if string(m.Class) == class {
				hit = append(hit, m)
			}
		}
	case f.byID[selector] != nil:
		hit = append(hit, f.byID[selector])
	default:
		if _, err := path.Match(selector, ""); err != nil {
			return nil, fmt.Errorf("device pattern %q: %w: write it as access-*", selector, err)
		}
		for _, m := range f.members {
			if ok, _ := path.Match(selector, m.ID); ok {
				hit = append(hit, m)
			}
		}
	}
	if len(hit) == 0 {
		return nil, fmt.Errorf("%w: nothing matches %q: ids look like %q, patterns like \"access-*\" or \"class:switch\"",
			ErrNoDevice, selector, f.members[0].ID)
	}
	for _, m := range hit {
		if err := fault.fits(m.Device); err != nil {
			return nil, err
		}
	}
	return hit, nil
}

// play runs one step of the script; New has checked it.
func (f *Fleet) play(s Step) {
	ids, err := f.FaultAll(s.Device, s.Fault)
	if err != nil {
		f.cfg.Log.Error("script step went wrong", "at", s.At, "device", s.Device, "fault", s.Fault.String(), "err", err)
		return
	}
	f.cfg.Log.Info("script step", "at", s.At, "device", s.Device, "fault", s.Fault.String(), "devices", len(ids))
}

func (f *Fleet) strike(hit []*member, fault Fault) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.cfg.Now()
	for _, m := range hit {
		m.state.Store(m.state.Load().apply(fault, now))
	}
	return f.settle(now)
}

// settle works out which devices answer, opens and closes services to match,
// and plans the next moment at which that changes by itself. It runs at every
// fault and at those moments, under f.mu.
func (f *Fleet) settle(now time.Time) error {
	up := make([]bool, len(f.members))
	var next time.Time
	for i, m := range f.members {
		st := m.state.Load()
		up[i] = st.answering(now)
		if t := st.next(now); !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	var errs []error
	for i, lit := range f.topology.reach(up) {
		m := f.members[i]
		m.lit.Store(lit)
		if m.Class == Service && f.web != nil {
			errs = append(errs, f.web.set(m, lit))
		}
	}
	failed := errors.Join(errs...)
	if again := now.Add(retryService); failed != nil && (next.IsZero() || again.Before(next)) {
		next = again
	}
	if !next.IsZero() && !next.Equal(f.settleAt) {
		f.settleAt = next
		f.timers.add(next, 0, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if err := f.settle(f.cfg.Now()); err != nil {
				f.cfg.Log.Error("simulated service does not come back", "err", err)
			}
		})
	}
	return failed
}

package alerting

import (
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
)

// partitions are those that a room owns.
func (r *Room) partitions() (all []int) {
	r.sources.mu.Lock()
	defer r.sources.mu.Unlock()
	for p := range r.sources.watchers {
		all = append(all, p.own.Partition)
	}
	return all
}

// domainIn is a domain whose alerts are in one of some partitions.
func domainIn(t *testing.T, partitions []int) string {
	for i := range 10_000 {
		domain := "domain-" + strconv.Itoa(i)
		if slices.Contains(partitions, bus.Partition(domain, (*event.Alert)(nil).Topic().Partitions)) {
			return domain
		}
	}
	t.Fatalf("there is no domain for any of the partitions %v", partitions)
	return ""
}

// abroad says an alert of a domain; ended is zero while it fires.
func (h *house) abroad(domain, name, target string, began, ended time.Time) {
	labels := event.LabelsOf(map[string]string{"alertname": name, "target": target, "site": "dc1"})
	a := &event.Alert{
		ID: event.AlertID(name, labels), Name: name, Rule: "test/" + name, State: event.AlertFiring, Target: target, Domain: domain, Team: "net",
		Severity: "critical", Labels: labels, StartsAt: began, Updated: began,
	}
	if !ended.IsZero() {
		a.State, a.EndsAt, a.Updated = event.AlertResolved, ended, ended
	}
	h.say(a)
}

// inhibited plays: a source in one domain inhibits an alert in another, for as long as it fires.
func inhibited(t *testing.T, h *house, here, there string) {
	t.Helper()
	began := time.Now()
	h.abroad(there, "PowerLost", "ups-1", began, time.Time{})
	h.abroad(here, "NoPower", "srv-1", began, time.Time{})
	time.Sleep(2 * time.Minute)
	if got := h.told("net-box"); !slices.Equal(got, []string{"firing ups-1: PowerLost"}) {
		t.Fatalf("while it is inhibited: told %q", got)
	}
	h.abroad(there, "PowerLost", "ups-1", began, time.Now())
	time.Sleep(5 * time.Second)
	if got := h.told("net-box"); len(got) != 3 || !slices.Contains(got, "firing srv-1: NoPower") {
		t.Fatalf("when it is not any more: told %q", got)
	}
	h.abroad(here, "NoPower", "srv-1", began, time.Now())
	time.Sleep(5 * time.Second)
}

// An alert inhibits those of every partition of the process.
func TestAnAlertInhibitsAcrossPartitions(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		time.Sleep(5 * time.Second)
		all := h.room.partitions()
		inhibited(t, h, domainIn(t, all[:1]), domainIn(t, all[1:2]))
	})
}

// It also inhibits those that another process owns, also when that comes later and finds it there.
func TestAnAlertInhibitsAcrossProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		first, crash := h.room, h.crash
		t.Cleanup(crash)
		h.start()
		time.Sleep(20 * time.Second)
		mine, theirs := first.partitions(), h.room.partitions()
		if len(mine) == 0 || len(theirs) == 0 {
			t.Fatalf("the partitions are not shared: %v, %v", mine, theirs)
		}
		inhibited(t, h, domainIn(t, mine), domainIn(t, theirs))
		again := domainIn(t, mine)
		began := time.Now()
		h.abroad(domainIn(t, theirs), "PowerLost", "ups-1", began, time.Time{})
		time.Sleep(time.Second)
		before := len(h.told("net-box"))
		crash() // The other takes its partitions over, and must know of the source before it decides.
		h.abroad(again, "NoPower", "srv-1", time.Now(), time.Time{})
		time.Sleep(2 * time.Minute)
		for _, said := range h.told("net-box")[before:] {
			if said == "firing srv-1: NoPower" {
				t.Errorf("after the take-over: told %q", said)
			}
		}
		h.crash()
	})
}

// Of two alerts of one partition the later is judged by the earlier, however short the waits are.
func TestTheLaterIsInhibitedWithoutAWait(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.crash()
		h.config = houseConfig + "alerting: {group_wait: 0s}\n"
		h.start()
		time.Sleep(5 * time.Second)
		began := time.Now()
		for i := range 20 {
			h.abroad("default", "PowerLost", "ups-"+strconv.Itoa(i), began, time.Time{})
			h.abroad("default", "NoPower", "srv-"+strconv.Itoa(i), began, time.Time{})
			time.Sleep(time.Minute)
			h.abroad("default", "NoPower", "srv-"+strconv.Itoa(i), began, time.Now())
			time.Sleep(time.Second) // What is read for the room may be ahead of the partition, too.
			h.abroad("default", "PowerLost", "ups-"+strconv.Itoa(i), began, time.Now())
			time.Sleep(time.Minute)
		}
		for _, said := range h.told("net-box") {
			if said[:len("firing srv")] == "firing srv" {
				t.Errorf("told %q", said)
			}
		}
	})
}

// What is in maintenance in one domain holds back what needs it in another, at once and for as long as it lasts.
func TestMaintenanceIsInheritedAcrossPartitions(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		time.Sleep(5 * time.Second)
		all := h.room.partitions()
		here, there := domainIn(t, all[:1]), domainIn(t, all[1:2])
		pdu := &event.Target{ID: "pdu-1", Class: "pdu", Team: "net", Lifecycle: event.Maintenance, Labels: map[string]string{event.LabelDomain: there}}
		srv := &event.Target{ID: "srv-1", Class: "server", Team: "net", Lifecycle: event.Active, Labels: map[string]string{event.LabelDomain: here}, Relations: map[string][]event.Need{event.PoweredBy: {{"pdu-1"}}}}
		h.say(srv, pdu)
		time.Sleep(time.Second)
		began := time.Now()
		h.abroad(here, "NoPower", "srv-1", began, time.Time{})
		time.Sleep(5 * time.Minute)
		if got := h.told("net-box"); len(got) != 0 {
			t.Fatalf("in maintenance: told %q", got)
		}
		active := *pdu
		active.Lifecycle = event.Active
		h.say(&active)
		time.Sleep(5 * time.Second)
		if got := h.told("net-box"); !slices.Equal(got, []string{"firing srv-1 (server): NoPower"}) {
			t.Errorf("when it was over: told %q", got)
		}
	})
}

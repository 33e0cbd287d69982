package bus_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
)

// Two installations that meet on one broker without a prefix each: the second says whose the topics are, and stops.
func TestTheTopicsOfAnotherInstallationAreRefused(t *testing.T) {
	broker := mem.New()
	defer broker.Close()
	as := func(name string) error {
		return bus.New(broker.Open(), bus.Settings{Installation: name}, obs.Scope{}).Open(t.Context())
	}
	for range 2 {
		if err := as("dc1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := as("dc2"); err == nil || !strings.Contains(err.Error(), `belong to the installation "dc1", this one is "dc2"`) {
		t.Errorf("the second installation was told %v", err)
	}
	if err := as("dc1"); err != nil {
		t.Errorf("the first was refused afterwards: %v", err)
	}
}

// wanting notes what topics it is asked for.
type wanting struct {
	driver.Driver
	mu   sync.Mutex
	sync map[string]bool
}

func (w *wanting) Ensure(ctx context.Context, topics []driver.Topic) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range topics {
		w.sync[t.Name] = t.Sync
	}
	return w.Driver.Ensure(ctx, topics)
}

// Durability is what the settings say, else the topic's own: on the disk first for what people are told by.
func TestDurabilityIsASwitchByTopic(t *testing.T) {
	for _, c := range []struct {
		set  map[string]event.Durability
		want map[string]bool
	}{
		{nil, map[string]bool{"targets.v1": true, "alerts.v1": true, "incidents.v1": true, "pages.v1": true, "commands.v1": true, "readings.v1": false, "findings.v1": false, "jobs.v1.dc1": false, "state.v1": false, "dead.v1": false}},
		{map[string]event.Durability{"readings.v1": event.Power, "pages.v1": event.Process, "jobs.v1": event.Power}, map[string]bool{"readings.v1": true, "pages.v1": false, "jobs.v1.dc1": true, "jobs.v1.dc2": true, "alerts.v1": true}},
	} {
		d := &wanting{Driver: mem.New(), sync: map[string]bool{}}
		if err := bus.New(d, bus.Settings{Zones: []string{"dc1", "dc2"}, Durability: c.set}, obs.Scope{}).Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		for topic, want := range c.want {
			if got, there := d.sync[topic]; !there || got != want {
				t.Errorf("with %v: %s is asked for with power %v (%v), want %v", c.set, topic, got, there, want)
			}
		}
		d.Close()
	}
}

// operating.md says how large a disk the embedded bus needs: 11 GiB with what is kept free, and half a GiB for each zone more.
func TestTheTopicsFitOnTheDiskThatTheDocsSay(t *testing.T) {
	limits := func(zones ...string) (sum int64) {
		for _, topic := range bus.New(mem.New(), bus.Settings{Zones: zones}, obs.Scope{}).Topics() {
			sum += topic.MaxBytes
		}
		return sum
	}
	const mib, keptFree = int64(1 << 20), 272
	if one := limits("a") / mib; one+keptFree > 11*1024 {
		t.Errorf("%d MiB with one zone", one)
	}
	if more := limits("a", "b")/mib - limits("a")/mib; more != 512 {
		t.Errorf("%d MiB more for a second zone", more)
	}
}

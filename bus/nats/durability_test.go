package nats

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// A topic whose durability was changed in the configuration is refused with what to do, and what the error says moves it with
// all it holds: records, and how far groups are.
func TestATopicIsMovedToAnotherDurabilityAsTheErrorSays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func() *Driver {
		d, err := New(Config{}, dir, obs.Scope{})
		if err != nil {
			t.Fatal(err)
		}
		d.tuning = quick()
		t.Cleanup(func() { d.Close() })
		return d
	}
	other := driver.Topic{Name: "other.v1", Partitions: 1, MaxBytes: 1 << 20, Sync: true}
	topic := driver.Topic{Name: "moved.v1", Partitions: 1, MaxBytes: 1 << 20}
	group := driver.Subscription{Topic: topic.Name, Group: "g"}
	d := start()
	if err := d.Ensure(t.Context(), []driver.Topic{topic, other}); err != nil {
		t.Fatal(err)
	}
	publish(t, d, topic.Name, "k", "1")
	follow(t, d, group).value("1")
	for i, sync := range []bool{true, false} { // There and back again.
		d.Close()
		is, should := durabilities[!sync], durabilities[sync]
		topic.Sync = sync
		d = start()
		err := d.Ensure(t.Context(), []driver.Topic{other, topic})
		wants(t, err, "kemi_moved_v1 has durability "+is+" and is configured with "+should, "give its topic durability "+is+" again (bus: {durability: …})", "stop kemi, mv")
		d.Close()
		command := regexp.MustCompile("mv '.*' '.*'").FindString(err.Error())
		if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		d = start()
		if err := d.Ensure(t.Context(), []driver.Topic{topic, other}); err != nil {
			t.Fatal(err)
		}
		if got, err := d.topic(t.Context(), topic.Name); err != nil || got.Sync != sync || got.link != d.links[map[bool]int{false: process, true: power}[sync]] {
			t.Fatalf("%+v: %v", got, err)
		}
		next := string(rune('2' + i))
		publish(t, d, topic.Name, "k", next)
		r := follow(t, d, group)
		if r.value(next); strings.Join(r.values, " ") != next {
			t.Fatalf("the group was handed %s, want what it had not handled", r.values)
		}
		var all []string
		for _, r := range stored(t, d, topic.Name) {
			all = append(all, string(r.Value))
		}
		if got := strings.Join(all, ""); got != "123"[:i+2] {
			t.Fatalf("it holds %s", got)
		}
	}
}

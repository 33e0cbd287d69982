package bus

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// Who reads why somebody stands still reads what to raise: the size of a record, or the room, and nothing where neither helps.
func TestWhoStandsStillIsToldWhatToRaise(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want []string
		not  string
	}{
		"full": {
			fmt.Errorf("publish: %w: maximum bytes exceeded", driver.ErrFull),
			[]string{"maximum bytes exceeded", "dead.v1 is full", "--max-bytes=268435456", "--max-msgs=-1", "--discard=old", "retention.bytes of PREFIX.dead.v1", "room of the broker"},
			"max-msg-size",
		},
		"too large": {
			fmt.Errorf("publish: %w", driver.ErrTooLarge), []string{"--max-msg-size=-1", "max.message.bytes of PREFIX.dead.v1"}, "--max-bytes",
		},
		"not allowed": {errors.New("the user may not publish"), []string{"the user may not publish"}, "raise"},
	} {
		var b Bus
		for _, ago := range []time.Duration{30 * time.Second, 0} {
			b.stuck.tried(place{"commands.v1", "cmdb", 2}, time.Now().Add(-ago), c.err)
		}
		all := b.StandStill()
		if len(all) != 1 || !strings.HasPrefix(all[0], "the group cmdb stands still in partition 2 of commands.v1: dead.v1 has not taken what cannot be handled for 30s: ") {
			t.Fatalf("%s: %q", name, all)
		}
		for _, w := range c.want {
			if !strings.Contains(all[0], w) {
				t.Errorf("%s: %q does not say %q", name, all[0], w)
			}
		}
		if strings.Contains(all[0], c.not) {
			t.Errorf("%s: %q says %q", name, all[0], c.not)
		}
	}
}

package nats

import (
	"testing"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/driver"
)

func TestAFullReplicatedStreamTakesWhatReplacesSomethingAsLarge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		used, size int64
		key        held
		want       bool
	}{
		"room for a new key":            {used: 1300, size: 100, want: true},
		"no room for a new key":         {used: 1301, size: 100},
		"the newer of a key":            {used: 1590, size: 100, key: held{true, 100}, want: true},
		"larger than what it replaces":  {used: 1490, size: 110, key: held{true, 100}, want: true},
		"larger than there is room for": {used: 1491, size: 110, key: held{true, 100}},
		"nothing of the key goes yet":   {used: 1400, size: 100, key: held{true, 0}, want: true},
		"and there is no room for it":   {used: 1401, size: 100, key: held{true, 0}},
	} {
		if got := fits(c.used, 1600, c.size, c.key); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Five that fill a stream as fast as their credit lets them leave of its reserve what the newer of a key needs, however
// their questions and messages fall.
func TestTheCreditOfSeveralStaysWithinTheReserve(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		whole := topic{Topic: driver.Topic{Kind: driver.Latest, MaxBytes: rapid.Int64Range(1, 1<<20).Draw(t, "bytes")}, replicated: true}
		used, left := int64(0), make([]int64, 5)
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			who := rapid.IntRange(0, len(left)-1).Draw(t, "who")
			if left[who] == 0 {
				left[who] = credit(used, whole.capacity())
				continue
			}
			size := rapid.Int64Range(1, left[who]).Draw(t, "size")
			left[who] -= size
			if used += size; used > whole.MaxBytes {
				t.Fatalf("%d of %d bytes", used, whole.MaxBytes)
			}
		}
	})
}

func TestWhatTheCreditIsGoodForKeepsItsOrder(t *testing.T) {
	t.Parallel()
	msgs := []*nats.Msg{
		{Subject: "a", Data: make([]byte, 9)},
		{Subject: "a", Data: make([]byte, 99), Header: nats.Header{headerExpected: {"7"}, headerExpectedSubject: {"x"}}},
		{Subject: "a", Data: make([]byte, 4), Header: nats.Header{"N": {"1", "2"}}}, // 17 bytes.
	}
	for credit, want := range map[int64]int{0: 0, 9: 0, 10: 1, 109: 1, 110: 2, 126: 2, 127: 3, 1 << 40: 3} {
		if n, bytes := within(msgs, credit); n != want || bytes > credit {
			t.Errorf("with %d bytes: %d messages of %d bytes, want %d", credit, n, bytes, want)
		}
	}
}

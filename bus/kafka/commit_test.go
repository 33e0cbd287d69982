package kafka

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestWhatIsCommittedIsReadAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.Int64Range(0, 1<<40).Draw(t, "position")
		m := mark{epoch: rapid.Uint64Range(0, 1<<40).Draw(t, "epoch")}
		end := at
		for range rapid.IntRange(0, 200).Draw(t, "runs") {
			r := run{begin: end + rapid.Int64Range(1, 1000).Draw(t, "gap")}
			r.end = r.begin + rapid.Int64Range(1, 1000).Draw(t, "length")
			end = r.end
			m.done = append(m.done, r)
		}
		end = at
		for range rapid.IntRange(0, 100).Draw(t, "held") {
			end += rapid.Int64Range(0, 1000).Draw(t, "gap")
			h := held{position: end, attempts: rapid.IntRange(1, 300).Draw(t, "attempts")}
			if rapid.Bool().Draw(t, "later") {
				h.due = int64(m.epoch) + rapid.Int64Range(1, 1000).Draw(t, "due")
			}
			m.held = append(m.held, h)
		}
		text, complete := m.encode(at)
		if !complete {
			t.Fatal("200 runs do not fit")
		}
		got, err := parseMark(text, at)
		if err != nil || got.epoch != m.epoch || !slices.Equal(got.done, m.done) || !slices.Equal(got.held, m.held) {
			t.Fatalf("%+v became %+v (%v)", m, got, err)
		}
	})
}

// What does not fit is left out from the end, and said.
func TestMetadataNeverGetsTooLong(t *testing.T) {
	m := mark{epoch: 1 << 60}
	for i, at := 0, int64(0); i < 5000; i++ {
		r := run{begin: at + 1 + rand.Int64N(300)}
		r.end = r.begin + 1 + rand.Int64N(300)
		at = r.end
		m.done = append(m.done, r)
	}
	m.held = []held{{1 << 40, 1, 0}, {1 << 41, 1, 0}}
	text, complete := m.encode(0)
	got, err := parseMark(text, 0)
	if complete || len(text) > maxMark || len(text) < maxMark-40 || err != nil || len(got.done) < 500 || !slices.Equal(got.done, m.done[:len(got.done)]) {
		t.Fatalf("complete %v, %d bytes, %d runs (%v)", complete, len(text), len(got.done), err)
	}
}

func FuzzMark(f *testing.F) {
	for _, m := range []mark{{}, {epoch: 9}, {epoch: 1, done: []run{{3, 4}, {9, 1000}}, held: []held{{2, 1, 0}, {8, 3, 77}}}} {
		text, _ := m.encode(2)
		f.Add(text, int64(2))
	}
	f.Add("else", int64(0))
	f.Add(markPrefix+"!", int64(0))
	f.Fuzz(func(t *testing.T, text string, at int64) {
		m, err := parseMark(text, at)
		if err != nil {
			return
		}
		last := at
		for _, r := range m.done {
			if r.begin < last || r.end <= r.begin {
				t.Fatalf("runs %v from %d", m.done, at)
			}
			last = r.end
		}
		again, complete := m.encode(at)
		if got, err := parseMark(again, at); err != nil || got.epoch != m.epoch || complete && !slices.Equal(got.done, m.done) || len(got.held) > len(m.held) {
			t.Fatalf("%+v became %+v (%v)", m, got, err)
		}
	})
}

package obs_test

import (
	"fmt"
	"testing"
	"time"

	"kemi.dev/kemi/internal/obs"
)

func TestWhatIsSaidOnceInAWhileCountsWhatItHolds(t *testing.T) {
	var s obs.Seldom
	now := time.Unix(1e9, 0)
	for i, want := range []string{"0 true", "1 false", "2 false"} {
		held, due := s.Says("a", now.Add(time.Duration(i)*time.Second))
		if got := fmt.Sprint(held, due); got != want {
			t.Errorf("%d: got %s, want %s", i, got, want)
		}
	}
	if held, due := s.Says("b", now); held != 0 || !due {
		t.Error("another text is held back")
	}
	if held, due := s.Says("a", now.Add(obs.Every)); held != 2 || !due {
		t.Errorf("after a while: got %d %t", held, due)
	}
}

func TestWhatWasSaidSinceItBeganIsNotDueAgain(t *testing.T) {
	var s obs.Seldom
	begun := time.Unix(1e9, 0)
	for _, x := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {2 * obs.Every, false}} {
		if due := s.Since("a", begun, begun.Add(x.after)); due != x.want {
			t.Errorf("after %s: due %t", x.after, due)
		}
	}
	if !s.Since("a", begun.Add(time.Second), begun.Add(2*obs.Every)) {
		t.Error("it is not due when it begins anew")
	}
}

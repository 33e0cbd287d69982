package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Read hands over the events of one log: calls when their end is read, those without one last, as Unknown. A last line that
// is cut off, as kill -9 leaves it, is passed over.
func Read(r io.Reader, handle func(*Event)) error {
	in := bufio.NewReaderSize(r, 1<<16)
	open := map[int64]*Event{}
	var order []int64
	var last int64
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		var e Event
		if err := json.Unmarshal(bytes.TrimSpace(line), &e); err != nil {
			return fmt.Errorf("read log: line %d: %w", n, err)
		}
		last = max(last, e.At)
		switch {
		case e.Op == OpEnd:
			if call := open[e.Call]; call != nil {
				call.Ended, call.Outcome, call.Error = e.At, e.Outcome, e.Error
				delete(open, e.Call)
				handle(call)
			}
		case e.Call != 0:
			open[e.Call] = &e
			order = append(order, e.Call)
			if len(order) > 2*len(open)+1000 { // Forget those that ended.
				kept := order[:0]
				for _, c := range order {
					if open[c] != nil {
						kept = append(kept, c)
					}
				}
				order = kept
			}
		default:
			handle(&e)
		}
	}
	for _, c := range order {
		if e := open[c]; e != nil {
			e.Ended, e.Outcome = last, Unknown
			handle(e)
		}
	}
	return nil
}

// Check reads logs and judges them.
func Check(rules Rules, logs ...io.Reader) (Verdict, error) {
	c := NewChecker(rules)
	for _, l := range logs {
		if err := Read(l, c.Add); err != nil {
			return Verdict{}, err
		}
	}
	return c.Verdict(), nil
}

// CheckFiles reads the logs of a run from their files and judges them.
func CheckFiles(rules Rules, paths ...string) (Verdict, error) {
	c := NewChecker(rules)
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return Verdict{}, fmt.Errorf("open log: %w", err)
		}
		err = Read(f, c.Add)
		_ = f.Close()
		if err != nil {
			return Verdict{}, fmt.Errorf("%s: %w", p, err)
		}
	}
	return c.Verdict(), nil
}

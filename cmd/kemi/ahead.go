package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/dashboards/console"
	"kemi.dev/kemi/internal/conf"
)

// aheadHelp says how times to come are written.
const aheadHelp = `Times are by the clock here (18:00, which is the next 18:00, or "2026-11-22 18:00"), from now on (+2h, -30m), or RFC 3339
(2026-11-22T18:00:00Z).`

// ahead reads a time as people write one to come; a time without a day is the next of it.
func ahead(flag, s string, now time.Time) (time.Time, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return time.Time{}, nil
	}
	if s[0] == '+' || s[0] == '-' {
		if d, err := conf.ParseDuration(strings.TrimPrefix(s, "+")); err == nil {
			return now.Add(d), nil
		}
	}
	for _, form := range []string{"15:04:05", "15:04"} {
		if t, err := time.ParseInLocation(form, s, now.Location()); err == nil {
			at := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location())
			if !at.After(now) {
				at = at.AddDate(0, 0, 1)
			}
			return at, nil
		}
	}
	t, err := time.Parse(time.RFC3339, when(s, now))
	if err != nil {
		return t, usageError{fmt.Errorf("--%s %q is no time: write 18:00, \"2026-11-22 18:00\", +2h or 2026-11-22T18:00:00Z", flag, s)}
	}
	return t, nil
}

// hour writes a time by the clock here, as short as it is clear.
func hour(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	t, now = t.Local(), now.Local()
	form := "2006-01-02 15:04"
	switch days := t.Sub(now).Hours() / 24; {
	case t.YearDay() == now.YearDay() && t.Year() == now.Year():
		form = "15:04"
	case days > -6 && days < 6:
		form = "Mon 15:04"
	}
	return t.Format(form)
}

// in writes how long it is until a time.
func in(t, now time.Time) string {
	if !t.After(now) {
		return "now"
	}
	return "in " + console.Ago(t.Sub(now))
}

// brief is the start of an id, as lists show it.
func brief(id string) string { return id[:min(8, len(id))] }

// byFlag adds --by.
func byFlag(cmd *cobra.Command, by *string) {
	cmd.Flags().StringVar(by, "by", "", "who says so; without it, the name of your account")
}

// byOr is who says something: the name of the account unless told.
func byOr(by string) string {
	if by == "" {
		if me, err := user.Current(); err == nil {
			return me.Username
		}
	}
	return by
}

// send sends v as JSON, if there is one, and reads the answer into out.
func (c *client) send(ctx context.Context, method, path string, query url.Values, v, out any) error {
	var sent bytes.Buffer
	if v != nil {
		if err := json.NewEncoder(&sent).Encode(v); err != nil {
			return err
		}
	}
	resp, err := c.do(ctx, method, path, query, &sent)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.server, err)
	}
	return nil
}

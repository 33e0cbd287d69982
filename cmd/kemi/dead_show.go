package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/cmd/kemi/api"
)

func newDeadShow() *cobra.Command {
	var c client
	var output string
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show a dead letter with everything that is known of it", Args: cobra.ExactArgs(1),
		Long: `Shows where the record was, who could not handle it and why, its headers, and what it says; when that cannot be read,
its first bytes. -o json has all its bytes, as base64 in value.`,
		Example: "  kemi dead show 17\n  kemi dead show 17 -o json | jq -r .value | base64 -d > record",
	}
	outputFlag(cmd, &output)
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := letterID(args[0])
		if err != nil {
			return err
		}
		var l api.Letter
		if err := c.get(cmd.Context(), fmt.Sprint("/dead/", id), nil, &l); err != nil {
			return err
		}
		if output == "json" {
			return printJSON(cmd.OutOrStdout(), l)
		}
		return printLetter(cmd.OutOrStdout(), &l)
	}
	return cmd
}

// letterID reads the id of a letter, which is a number.
func letterID(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id < 0 {
		return 0, usageError{fmt.Errorf("%q is no id of a dead letter, which is a number: see kemi dead list", s)}
	}
	return id, nil
}

// dumped is how many bytes of a record that cannot be read are shown.
const dumped = 256

func printLetter(w io.Writer, l *api.Letter) error {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s %s\n", name, plain(value))
		}
	}
	line("letter", strconv.FormatInt(l.ID, 10))
	line("given up", fmt.Sprintf("%s (%s ago)", l.At.Local().Format(time.DateTime), ago(l.At)))
	line("reason", l.Reason)
	line("from", place(&l.Letter))
	line("group", l.Group)
	line("key", l.Key)
	if l.Attempts > 0 {
		line("attempts", strconv.Itoa(l.Attempts))
	}
	holds := fmt.Sprintf("%d bytes", l.Bytes)
	if l.Truncated {
		holds += fmt.Sprintf(", of which the letter holds %d", len(l.Value))
	}
	line("record", holds)
	if d := l.Done; d != nil {
		line("done", strings.TrimSpace(fmt.Sprintf("%s at %s by %s  %s", d.How, d.At.Local().Format(time.DateTime), or(d.By, "somebody"), d.Comment)))
	} else if l.Stuck != "" {
		line("stuck", "it cannot be retried: "+l.Stuck)
	}
	names := make([]string, 0, len(l.Headers))
	for name := range l.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		head := ""
		if i == 0 {
			head = "headers"
		}
		fmt.Fprintf(&b, "%-10s %s: %s\n", head, plain(name), plain(l.Headers[name]))
	}
	switch {
	case l.Removed:
		line("says", "the key is removed")
	case l.Event != nil:
		var indented bytes.Buffer
		if err := json.Indent(&indented, l.Event, "", "  "); err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n%s\n", plainLines(indented.String()))
	default:
		line("unreadable", l.Unreadable)
		fmt.Fprintf(&b, "\n%s", hex.Dump(l.Value[:min(len(l.Value), dumped)]))
		if more := len(l.Value) - dumped; more > 0 {
			fmt.Fprintf(&b, "… and %d bytes more: see -o json\n", more)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// plainLines is plain for a text of several lines.
func plainLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = plain(lines[i])
	}
	return strings.Join(lines, "\n")
}

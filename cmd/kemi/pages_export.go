package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/cmd/kemi/api"
)

func newPagesExport() *cobra.Command {
	var c client
	var f pageFlags
	var output, from, to string
	cmd := &cobra.Command{
		Use: "export", Short: "Write the ledger as CSV or JSON lines", Args: cobra.NoArgs,
		Long: `Writes what the ledger stored between --from (without it: everything, 90 days) and --to (without it: now), one line for
every stage that a page came to: decided (intent), tried (retrying, with the provider's answer), sent, failed, held. The stages
of one page are in order and have its id in common.

As CSV (RFC 4180, with a header, times in UTC) a text that a spreadsheet would take for a formula has a ' before it. JSON lines
have everything, with the incident as it was when the page was decided.
` + whenHelp,
		Example: `  kemi pages export > pages.csv
  kemi pages export --from 7d --person jo
  kemi pages export --from 2026-11-01 --to 2026-12-01 -o json | jq -c '{id, person, stage, response}'`,
	}
	f.flags(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "csv", "csv or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"csv", "json"}, cobra.ShellCompDirectiveNoFileComp)) // Fails only for flags that are not there.
	cmd.Flags().StringVar(&from, "from", "beginning", "begin there: 2h (ago), 10:00, beginning")
	cmd.Flags().StringVar(&to, "to", "", "end before that time; without it, with what is stored now")
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if output != "csv" && output != "json" {
			return usageError{fmt.Errorf("-o %s: there is csv and json", output)}
		}
		q, err := f.query()
		if err != nil {
			return err
		}
		now := time.Now()
		q.Set("from", when(from, now))
		if to = when(to, now); to != "" {
			q.Set("to", to)
		}
		out := cmd.OutOrStdout()
		if output == "json" {
			return c.ledger(cmd, q, func(_ api.Entry, line json.RawMessage) error {
				_, err := fmt.Fprintf(out, "%s\n", line)
				return err
			})
		}
		w := csv.NewWriter(out)
		headed := false
		head := func() error { // Not before something was answered: a refusal is no table.
			if headed {
				return nil
			}
			headed = true
			return w.Write(exportHeader)
		}
		err = c.ledger(cmd, q, func(e api.Entry, _ json.RawMessage) error {
			if err := head(); err != nil {
				return err
			}
			return w.Write(exportRow(e))
		})
		if err != nil {
			w.Flush()
			return err
		}
		if err := head(); err != nil {
			return err
		}
		w.Flush()
		if err := w.Error(); err != nil {
			return fmt.Errorf("write the ledger: %w", err)
		}
		return nil
	}
	return cmd
}

// exportHeader names the columns. Columns are only ever added, at the end.
var exportHeader = []string{
	"page", "created", "at", "stage", "kind", "urgency", "step", "team", "receiver", "person", "incident", "cause", "severity", "title",
	"attempts", "answer", "why", "explanation", "next_try", "possible_duplicate", "dedup_key", "summary", "arrival",
}

func exportRow(e api.Entry) []string {
	cause, severity := "", ""
	if e.Snapshot != nil {
		cause, severity = e.Snapshot.Cause, e.Snapshot.Severity
	}
	step := ""
	if e.Step > 0 {
		step = strconv.Itoa(e.Step)
	}
	row := []string{
		e.ID, utc(e.Created), utc(e.Updated), string(e.Stage), string(e.Kind), string(e.Urgency), step, e.Team, e.Receiver, e.Person, e.Incident, cause, severity,
		e.Title, strconv.Itoa(e.Attempts), e.Response, e.Reason.Code, e.Reason.Text, utc(e.NextTry), strconv.FormatBool(e.PossibleDuplicate), e.DedupKey, e.Summary,
		string(e.Arrival),
	}
	for i := range row {
		row[i] = noFormula(row[i])
	}
	return row
}

func utc(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// noFormula keeps what devices and providers wrote from being calculated by whoever opens the file: a spreadsheet does so
// with what begins with one of these.
func noFormula(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

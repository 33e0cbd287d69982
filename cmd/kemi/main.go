// Command kemi is the whole of Kemi: the pipeline, its tools and its clients.
//
// In: a configuration and flags. Out: a running pipeline, or an answer on standard output.
// It promises exit code 0 for well, 1 when what was checked or done is wrong, 2 for wrong usage, and that every command
// explains itself with --help. It is the only package that knows every room.
// It never prints a secret.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set when a release is built.
var version = "devel"

// errWrong means that what was checked is wrong and that this was said already.
var errWrong = errors.New("something is wrong")

// usageError is a mistake in how a command was called.
type usageError struct{ error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// execute runs one command and returns the exit code.
func execute(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errWrong):
		return 1
	case errors.As(err, &usage) || isCobraUsage(err):
		fmt.Fprintf(os.Stderr, "kemi: %v\nSee %q.\n", err, cmd.CommandPath()+" --help")
		return 2
	default:
		fmt.Fprintf(os.Stderr, "kemi: %v\n", err)
		return 1
	}
}

// isCobraUsage recognises the usage mistakes that cobra reports by itself.
func isCobraUsage(err error) bool {
	for _, start := range []string{"unknown command", "accepts ", "requires at least", "required flag"} {
		if strings.HasPrefix(err.Error(), start) {
			return true
		}
	}
	return false
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "kemi",
		Short: "An event-driven monitoring pipeline in one binary",
		Long: `Kemi watches switches, servers, VMs and services, and pages the right person once.

See it work:            kemi demo
Run it on your site:    kemi check -c kemi.yaml && kemi run -c kemi.yaml
Ask a device now:       kemi poll --snmp 2c:public@192.0.2.1
Look at what runs:      kemi targets list, kemi incidents list, kemi tail readings.v1
When you were called:   kemi ack INCIDENT, kemi silence add, kemi oncall
When you were not:      kemi why-not PERSON --at 03:25, kemi why INCIDENT`,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		newVersion(), newSimulate(), newTail(), newReplay(), newTopics(), newDead(), newTargets(), newList(alertsView), newList(incidentsView), newPages(),
		newRun(), newCheck(), newPoll(), newDemo(), newDashboards(), newImport(), newNotify(), newSubscriptions(), newWhy(),
	)
	root.AddCommand(append(newActs(), newOnCall(), newWhyNotOnCall(), newSilence(), newMaintenance())...)
	return root
}

func newVersion() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Example: "  kemi version\n  kemi version -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			info := map[string]string{"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			if build, ok := debug.ReadBuildInfo(); ok {
				for _, s := range build.Settings {
					if s.Key == "vcs.revision" {
						info["revision"] = s.Value
					}
				}
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), info)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "kemi %s (%s, %s)\n", info["version"], info["go"], info["platform"])
			return err
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// look is a verb that only reads. It reads the disk and asks no driver, so it shows the same whether
// loam serves or not.
type look[Row any] struct {
	use, short string
	header     string                                          // of the table, its columns separated by tabs
	rows       func(context.Context, pool.Pool) ([]Row, error) // of one pool
	line       func(Row) string                                // of the table
}

// command returns the verb. A pool that cannot be read costs its own rows and the exit code.
func (l look[Row]) command() *cobra.Command {
	var configPath, state, output string
	c := &cobra.Command{
		Use: l.use, Short: l.short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if output != "" && output != "json" {
				return volume.Errorf(volume.Invalid, "output %q: it is a table, or json", output)
			}
			parsed, err := readConfig(configPath)
			if err != nil {
				return err
			}
			parsed.State = state
			rows, err := l.read(c.Context(), parsed)
			if output == "json" {
				return errors.Join(printJSON(c.OutOrStdout(), rows), err)
			}
			return errors.Join(l.printTable(c.OutOrStdout(), rows), err)
		},
	}
	configFlag(c, &configPath)
	stateFlag(c, &state)
	c.Flags().StringVarP(&output, "output", "o", "", "json, or nothing for a table")
	return c
}

func (l look[Row]) read(ctx context.Context, c settings) ([]Row, error) {
	machine := host.New(host.NewRunner())
	all := []Row{} // in JSON nothing is [] and not null
	var errs []error
	for _, one := range c.Pools {
		rows, err := l.readPool(ctx, c, one, machine)
		all, errs = append(all, rows...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

func (l look[Row]) readPool(ctx context.Context, c settings, one poolSettings, machine *host.Host) ([]Row, error) {
	p, err := one.Inspect(ctx, one.Name, c.on(machine))
	if err != nil {
		return nil, asWho(os.Geteuid(), one.Name, err)
	}
	rows, err := l.rows(ctx, p)
	return rows, asWho(os.Geteuid(), one.Name, errors.Join(err, p.Close()))
}

// asWho says of an error with a pool that another user may have none: what is not root may look neither into the directories
// of a pool nor at disks, and to it a pool that is there may seem not to be.
func asWho(uid int, pool string, err error) error {
	if err == nil || uid == 0 {
		return err
	}
	return volume.Errorf(volume.KindOf(err), "pool %q: only root can look into a pool, and this is user %d, to whom a pool that is there may seem to be gone or damaged: run it with sudo (%w)", pool, uid, err)
}

func printJSON(out io.Writer, rows any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(rows)
}

func (l look[Row]) printTable(out io.Writer, rows []Row) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	lines := []string{l.header}
	for _, row := range rows {
		lines = append(lines, l.line(row))
	}
	_, err := fmt.Fprintln(table, strings.Join(lines, "\n"))
	return errors.Join(err, table.Flush())
}

// when says when something was made; nothing where that is not known.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// columns makes a line of a table. An empty column is a dash, so that columns can be counted.
func columns(values ...any) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
		if texts[i] == "" {
			texts[i] = "-"
		}
	}
	return strings.Join(texts, "\t")
}

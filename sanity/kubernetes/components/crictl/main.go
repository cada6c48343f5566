// Command crictl has the two verbs of the real one that specs of Kubernetes use on a node: "ps", with its flags
// --label, --name and -q, and "stop ID...".
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("it knows ps and stop"))
	}
	conn, err := grpc.NewClient("unix:///run/containerd/containerd.sock", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fail(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	runtime := cri.NewRuntimeServiceClient(conn)
	switch os.Args[1] {
	case "ps":
		err = list(ctx, runtime, os.Args[2:])
	case "stop":
		for _, id := range os.Args[2:] {
			if _, err = runtime.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: id}); err != nil {
				break
			}
			fmt.Println(id)
		}
	default:
		err = fmt.Errorf("it knows ps and stop, not %q", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "crictl:", err)
	os.Exit(1)
}

func list(ctx context.Context, runtime cri.RuntimeServiceClient, args []string) error {
	labels := map[string]string{}
	flags := flag.NewFlagSet("ps", flag.ContinueOnError)
	flags.Func("label", "KEY=VALUE", func(s string) error {
		key, value, _ := strings.Cut(s, "=")
		labels[key] = value
		return nil
	})
	name := flags.String("name", "", "name of the container")
	quiet := flags.Bool("q", false, "only IDs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	all, err := runtime.ListContainers(ctx, &cri.ListContainersRequest{Filter: &cri.ContainerFilter{
		State: &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING}, LabelSelector: labels}})
	if err != nil {
		return err
	}
	for _, c := range all.Containers {
		switch {
		case *name != "" && c.Metadata.Name != *name:
		case *quiet:
			fmt.Println(c.Id)
		default:
			fmt.Println(c.Id, c.State, c.Metadata.Name)
		}
	}
	return nil
}

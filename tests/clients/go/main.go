// What every client does: create jobs, page through them, be refused, import a file. The client is made by openapi-generator.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	jobs "waybill/clients/jobs"
)

func main() {
	configuration := jobs.NewConfiguration()
	configuration.Servers = jobs.ServerConfigurations{{URL: os.Getenv("WAYBILL_URL")}}
	client := jobs.NewAPIClient(configuration)
	ctx := context.WithValue(context.Background(), jobs.ContextBasicAuth, jobs.BasicAuth{
		UserName: os.Getenv("WAYBILL_ACCOUNT_ID"),
		Password: os.Getenv("WAYBILL_AUTH_KEY"),
	})

	for number := 1; number <= 3; number++ {
		job, _, err := client.JobsAPI.CreateJob(ctx).JobIn(newJob(fmt.Sprintf("C-%d", number), "+15145550100")).Execute()
		check(err)
		fmt.Println("created", *job.ReferenceId.Get(), job.Status, job.Priority)
	}

	pages, found := 0, 0
	cursor := ""
	for {
		request := client.SearchAPI.ListJobs(ctx).Limit(2)
		if cursor != "" {
			request = request.Cursor(cursor)
		}
		page, _, err := request.Execute()
		check(err)
		pages, found = pages+1, found+len(page.Data)
		if !page.HasMore {
			break
		}
		cursor = *page.NextCursor.Get()
	}
	fmt.Println("paged", pages, found)

	_, _, err := client.JobsAPI.CreateJob(ctx).JobIn(newJob("C-4", "12")).Execute()
	var refused *jobs.GenericOpenAPIError
	if !errors.As(err, &refused) {
		check(fmt.Errorf("no refusal: %v", err))
	}
	problem := refused.Model().(jobs.InvalidProblem)
	fmt.Println("refused", problem.Status, problem.Code, *problem.Errors[0].Pointer)

	file, err := os.Open(os.Getenv("WAYBILL_FILE"))
	check(err)
	begun, _, err := client.FilesAPI.ImportJobs(ctx).File(file).IdempotencyKey("import-1").Execute()
	check(err)
	for begun.FinishedAt.Get() == nil {
		time.Sleep(100 * time.Millisecond)
		begun, _, err = client.FilesAPI.GetImport(ctx, begun.Id).Execute()
		check(err)
	}
	fmt.Println("imported", begun.Status, begun.JobsCreated, begun.RowsFailed)
}

func newJob(reference string, phone string) jobs.JobIn {
	contact := jobs.NewContactIn()
	contact.SetFirstName("Ada")
	contact.SetPhone(phone)
	address := jobs.NewAddressIn()
	address.SetRaw("1 Rue Sherbrooke, Montréal")
	job := jobs.JobIn{Address: *address, Contact: *contact}
	job.SetReferenceId(reference)
	return job
}

func check(err error) {
	if err != nil {
		var refused *jobs.GenericOpenAPIError
		if errors.As(err, &refused) {
			fmt.Fprintln(os.Stderr, string(refused.Body()))
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

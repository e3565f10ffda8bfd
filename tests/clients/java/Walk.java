import java.io.File;
import waybill.jobs.ApiClient;
import waybill.jobs.ApiException;
import waybill.jobs.JSON;
import waybill.jobs.api.FilesApi;
import waybill.jobs.api.JobsApi;
import waybill.jobs.api.SearchApi;
import waybill.jobs.model.AddressIn;
import waybill.jobs.model.ContactIn;
import waybill.jobs.model.InvalidProblem;
import waybill.jobs.model.Job;
import waybill.jobs.model.JobIn;
import waybill.jobs.model.JobList;
import waybill.jobs.model.ModelImport;

/** What every client does: create jobs, page through them, be refused, import a file. The client is made by openapi-generator. */
public final class Walk {
  public static void main(String[] arguments) throws Exception {
    ApiClient client = new ApiClient();
    client.setBasePath(System.getenv("WAYBILL_URL"));
    client.setUsername(System.getenv("WAYBILL_ACCOUNT_ID"));
    client.setPassword(System.getenv("WAYBILL_AUTH_KEY"));
    JobsApi jobs = new JobsApi(client);
    SearchApi search = new SearchApi(client);
    FilesApi files = new FilesApi(client);

    for (int number = 1; number <= 3; number++) {
      Job job = jobs.createJob(newJob("C-" + number, "+15145550100")).execute();
      System.out.println("created " + job.getReferenceId() + " " + job.getStatus() + " " + job.getPriority());
    }

    int pages = 0;
    int found = 0;
    String cursor = null;
    JobList page;
    do {
      page = search.listJobs().limit(2).cursor(cursor).execute();
      pages++;
      found += page.getData().size();
      cursor = page.getNextCursor();
    } while (page.getHasMore());
    System.out.println("paged " + pages + " " + found);

    try {
      jobs.createJob(newJob("C-4", "12")).execute();
    } catch (ApiException refused) {
      InvalidProblem problem = JSON.getGson().fromJson(refused.getResponseBody(), InvalidProblem.class);
      String pointer = problem.getErrors().get(0).getPointer();
      System.out.println("refused " + problem.getStatus() + " " + problem.getCode() + " " + pointer);
    }

    ModelImport begun = files.importJobs(new File(System.getenv("WAYBILL_FILE"))).idempotencyKey("import-1").execute();
    while (begun.getFinishedAt() == null) {
      Thread.sleep(100);
      begun = files.getImport(begun.getId()).execute();
    }
    System.out.println("imported " + begun.getStatus() + " " + begun.getJobsCreated() + " " + begun.getRowsFailed());
  }

  private static JobIn newJob(String reference, String phone) {
    return new JobIn()
        .referenceId(reference)
        .contact(new ContactIn().firstName("Ada").phone(phone))
        .address(new AddressIn().raw("1 Rue Sherbrooke, Montréal"));
  }
}

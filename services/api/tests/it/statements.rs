//! What each call costs the database: a number of statements that does not grow with what is there.

use crier_testkit::HttpClient;

use crate::authorisation::{People, Row, Stage, rows, status};
use crate::fixture::{Person, Service, expect, id};

/// So many more of everything in the larger community.
const MORE: i64 = 12;
/// No call may send more, whatever it does.
const MOST: u64 = 20;

/// How many statements the service has sent.
async fn sent(http: &HttpClient) -> u64 {
    let metrics = http.get("/metrics").await.text();
    let line = metrics
        .lines()
        .find(|line| line.starts_with("store_statements_total"));
    let number = line.unwrap().rsplit(' ').next().unwrap();
    number.parse().unwrap()
}

/// Adds admins, members who follow everything, articles, discussions and comments.
async fn grow(service: &Service, people: &People, stage: &Stage) {
    let (admin, community) = (&people.admin, stage.place.community);
    for number in 0..MORE {
        let role = if number % 2 == 0 { "admin" } else { "member" };
        let other = service.known(1_000 + number, "another").await;
        admin.put_member(community, &other, role).await;
        let place = admin.submit(community, "Another").await;
        admin.publish(place).await;
        expect(&people.member.subscribe(place).await, 201);
        id(&admin.discuss(stage.place, "Another").await, 201);
        id(&admin.comment(stage.discussion, "Another").await, 201);
    }
}

async fn cost(service: &Service, caller: &HttpClient, row: &Row, stage: &Stage) -> u64 {
    let before = sent(&service.http).await;
    let (status, body) = status(caller, row, stage).await;
    let after = sent(&service.http).await;
    let (method, route) = (&row.method, row.route);
    assert!(status < 300, "{method} {route}: {status} {body}");
    after - before
}

/// Whose call succeeds, besides the backend's.
fn person<'p>(row: &Row, people: &'p People) -> &'p Person {
    // The subscription and the comment are the member's, and the admin has to stay.
    let route = row.route;
    if ["{subscription}", "{comment}", "/leave"]
        .iter()
        .any(|part| route.contains(part))
    {
        &people.member
    } else {
        &people.admin
    }
}

#[tokio::test]
async fn no_call_sends_more_statements_where_there_is_more() {
    let service = Service::start().await;
    let people = People::meet(&service).await;
    let backend = service.backend();
    for row in rows() {
        let person = person(&row, &people);
        let caller = if row.is_for_backend() {
            &backend
        } else {
            &person.http
        };
        let small = Stage::set(&people, "private", person).await;
        let large = Stage::set(&people, "private", person).await;
        grow(&service, &people, &large).await;
        let few = cost(&service, caller, &row, &small).await;
        let many = cost(&service, caller, &row, &large).await;
        println!("{few:3}  {} {}", row.method, row.route);
        assert_eq!(few, many, "{} {}", row.method, row.route);
        assert!(few <= MOST, "{} {}: {few}", row.method, row.route);
    }
    service.end().await;
}

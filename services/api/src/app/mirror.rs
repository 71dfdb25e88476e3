//! Upserts by an application that keeps its own data, one at a time: what they name is as they say when they are
//! answered, whatever was there. In bulk it is [`super::sync`].

use crier_domain::{ArticleId, CommunityId, UserId};
use crier_store::mirror::{
    ArticleLine, Batch, CommunityArticleLine, CommunityLine, Effect, Line, MemberLine,
};
use crier_store::{StoreError, Tx};

use super::App;
use super::error::{AppError, Thing, Unfit};
use super::view::{ArticleView, CommunityArticleView, CommunityView, MemberView};

/// The greatest id that a caller may choose: JSON clients hold it exactly, and it leaves the database's own ids room.
pub(crate) const GREATEST_ID: i64 = (1 << 53) - 1;

/// How often a change is made again because another call took the same id or slug at the same moment.
const ATTEMPTS: u32 = 3;

/// Makes the community or changes it; whether it is new.
pub(crate) async fn community(
    app: &App,
    line: CommunityLine,
) -> Result<(bool, CommunityView), AppError> {
    let id: CommunityId = line.id;
    let (is_new, tx) = make(app, Line::Community(line)).await?;
    let found = tx.any_community(id).await?;
    let view = found.ok_or(AppError::NoSuch(Thing::Community))?.into();
    app.commit(tx).await?;
    Ok((is_new, view))
}

/// Makes the user a member, known to Crier if need be, or changes their role; whether they are new.
pub(crate) async fn member(app: &App, line: MemberLine) -> Result<(bool, MemberView), AppError> {
    let (community, user): (CommunityId, UserId) = (line.community, line.user);
    let (is_new, tx) = make(app, Line::Member(line)).await?;
    let found = tx.find_member(community, user).await?;
    let view = found.ok_or(AppError::NoSuch(Thing::Member))?.into();
    app.commit(tx).await?;
    Ok((is_new, view))
}

/// Makes the article or changes it; whether it is new.
pub(crate) async fn article(app: &App, line: ArticleLine) -> Result<(bool, ArticleView), AppError> {
    let id: ArticleId = line.id;
    let (is_new, tx) = make(app, Line::Article(line)).await?;
    let found = tx.any_article(&id.into()).await?;
    let view = found.ok_or(AppError::NoSuch(Thing::Article))?.into();
    app.commit(tx).await?;
    Ok((is_new, view))
}

/// Puts the article into the community, or changes how far it has come there; whether it is new there.
pub(crate) async fn community_article(
    app: &App,
    line: CommunityArticleLine,
) -> Result<(bool, CommunityArticleView), AppError> {
    let (community, article) = (line.community, line.article);
    let (is_new, tx) = make(app, Line::CommunityArticle(line)).await?;
    let found = tx.any_community_article(community, article).await?;
    let view = found
        .ok_or(AppError::NoSuch(Thing::CommunityArticle))?
        .into();
    app.commit(tx).await?;
    Ok((is_new, view))
}

/// A transaction in which the line holds, and whether it made something new.
async fn make(app: &App, line: Line) -> Result<(bool, Tx), AppError> {
    check_ids(&line).map_err(AppError::Unfit)?;
    let batch = Batch::of(line);
    let mut attempt = 1;
    loop {
        let tx = app.begin(batch.locks()).await?;
        match tx.mirror(&batch).await {
            Ok(outcomes) => {
                let outcome = outcomes.into_iter().next();
                let effect = outcome.ok_or(StoreError::NoRow)??;
                return Ok((effect == Effect::Made, tx));
            }
            Err(StoreError::Exists(_)) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether all ids in it are such as callers may choose.
pub(super) fn check_ids(line: &Line) -> Result<(), Unfit> {
    let ids: [Option<i64>; 4] = match line {
        Line::User(line) => [Some(line.id.get()), None, None, None],
        Line::Community(line) => [Some(line.id.get()), None, None, None],
        Line::Article(line) => {
            let (id, submitter) = (line.id.get(), line.submitter.get());
            [Some(id), Some(submitter), None, None]
        }
        Line::Member(line) => {
            let (community, user) = (line.community.get(), line.user.get());
            [Some(community), Some(user), None, None]
        }
        Line::CommunityArticle(line) => [
            Some(line.community.get()),
            Some(line.article.get()),
            line.submitter.map(i64::from),
            line.id.map(i64::from),
        ],
        Line::Subscription(line) => [
            Some(line.community.get()),
            Some(line.article.get()),
            Some(line.user.get()),
            None,
        ],
    };
    if ids.iter().flatten().all(|id| *id <= GREATEST_ID) {
        Ok(())
    } else {
        Err(Unfit::Id)
    }
}
